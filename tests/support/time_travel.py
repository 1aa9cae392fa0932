"""Sets the test's database back to an earlier state, as a restore to a point in time does."""

from __future__ import annotations

import io
from typing import Final

from django.db import connection

_TABLES: Final = """
SELECT relname FROM pg_class
 WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
   AND relname NOT IN ('django_migrations', 'django_content_type', 'auth_permission')
 ORDER BY relname
"""


class Snapshot:
    """All rows of the database, partitioned tables included."""

    def __init__(self) -> None:
        self._rows: dict[str, bytes] = {}
        with connection.cursor() as cursor:
            cursor.execute(_TABLES)
            for (table,) in cursor.fetchall():
                found = io.BytesIO()
                with cursor.copy(f'COPY (SELECT * FROM "{table}") TO STDOUT') as copy:
                    for part in copy:
                        found.write(bytes(part))
                self._rows[table] = found.getvalue()

    def restore(self) -> None:
        """Set every table back. In one transaction, without the checks of foreign keys."""
        with connection.cursor() as cursor:
            cursor.execute("SET session_replication_role = replica")
            tables = ", ".join(f'"{table}"' for table in self._rows)
            cursor.execute(f"TRUNCATE {tables} CASCADE")
            for table, rows in self._rows.items():
                if rows:
                    with cursor.copy(f'COPY "{table}" FROM STDIN') as copy:
                        copy.write(rows)
            cursor.execute("SET session_replication_role = DEFAULT")
