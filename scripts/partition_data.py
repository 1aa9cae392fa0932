"""The databases of `partition_load`: an empty one, and one with 400 daily partitions and many messages.

Both in one PostgreSQL of its own, in .devservices/partitions (fsync on, as it comes). The server itself makes the rows.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
from psycopg import sql

from apps.devservices.demo.run import manage
from apps.devservices.postgres import Postgres
from apps.devservices.processes import PROJECT_ROOT
from smsgateway import config, ids
from smsgateway.partitions.spans import day_of, midnight, name_of

DIRECTORY = PROJECT_ROOT / ".devservices" / "partitions"
ARCHIVE = DIRECTORY / "archive"
DAYS = 400
AHEAD = 14
NEWEST = 10
CUSTOMERS = 100
BALANCE = 10**12
TODAY = day_of(dt.datetime.now(tz=dt.UTC)).date()
OLD_DAY = TODAY - dt.timedelta(days=200)
"""The day whose partitions have a million rows: they are archived and restored."""
TABLES = {"sms_message": "id", "sms_statusentry": "message_id", "balance_ledgerentry": "id"}

# Ids of every moment of the day in turn. Two rows of one millisecond differ in the other bits.
_ID = "(lpad(to_hex({start} + number * {length} / {rows}), 12, '0') || substr(md5(number::text), 1, 20))::uuid"
_ROWS = {
    "sms_message": """
        SELECT {id}, ({customers}::uuid[])[1 + number % {many}], '+98912' || lpad((number % 10000000)::text, 7, '0'),
               'BENCH',
               'Your code is ' || lpad((number * 7919 % 1000000)::text, 6, '0') || '. Do not tell it to anybody.',
               'gsm7', 1, 100, 'mci', CASE WHEN number % 10 = 0 THEN 'order ' || number ELSE '' END,
               to_timestamp(({start} + number * {length} / {rows}) / 1000 + 172800), 'normal', NULL, '',
               CASE WHEN number % 20 = 0 THEN jsonb_build_object('order', number::text) END
          FROM generate_series(1, {rows}::bigint) AS number
    """,
    "sms_statusentry": """
        SELECT {id}, status, to_timestamp(({start} + number * {length} / {rows}) / 1000 + 2), 'mci', number::text,
               '', 1, 0
          FROM generate_series(1, {rows}::bigint) AS number
         CROSS JOIN (VALUES ('delivered'), ('submitted')) AS log (status)
    """,
    "balance_ledgerentry": """
        SELECT {id}, ({customers}::uuid[])[1 + number % {many}], number / {many} + 1, 'charge', -100,
               {balance} - 100 * (number / {many}), {id}, ''
          FROM generate_series(1, {rows}::bigint) AS number
    """,
}


@contextlib.contextmanager
def postgres() -> Iterator[dict[str, str]]:
    """Start PostgreSQL; return the addresses of the two databases by name (`full`, `empty`)."""
    server = Postgres(DIRECTORY)
    full = server.start()
    empty = full.rpartition("/")[0] + "/empty"
    try:
        with psycopg.connect(full, autocommit=True) as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = 'empty'").fetchone():
                connection.execute("CREATE DATABASE empty")
        yield {"full": full, "empty": empty}
    finally:
        server.stop()


def environ(address: str, **own: str) -> dict[str, str]:
    """The environment of a process on this database. Kafka and ClickHouse do not run: the API does not use them."""
    unset = dict.fromkeys((name for _, _, name, _, _ in config.declarations()), "")
    return {
        **os.environ,
        **unset,
        "DEVSERVICES_DIR": str(DIRECTORY),
        "DATABASE_URL": address,
        "KAFKA_BROKERS": "127.0.0.1:1",
        "CLICKHOUSE_URL": "clickhouse://127.0.0.1:1/none",
        "LOG_LEVEL": "warning",
        "HTTP_THREADS": "2",
        "API_MESSAGES_PER_MINUTE": "1000000000",
        "PARTITION_ARCHIVE": str(ARCHIVE),
        **own,
    }


def customers(address: str) -> list[str]:
    """The customers to send for, created at the first call."""
    with psycopg.connect(address) as connection:
        found = connection.execute(
            "SELECT id FROM customers_customer WHERE name LIKE 'bench-%' ORDER BY name"
        ).fetchall()
    if found:
        return [ids.to_text(row[0]) for row in found]
    plans = [f"bench-{number:03}:100:{BALANCE}" for number in range(CUSTOMERS)]
    return list(json.loads(manage("seed", *plans, environ=environ(address))).values())


def prepare(addresses: dict[str, str], *, rows: int, old_rows: int) -> float:
    """Migrate both; fill one with `rows` messages in its newest partitions. Returns the seconds of filling."""
    for address in addresses.values():
        manage("migrate", environ=environ(address))
        customers(address)
    started = time.monotonic()
    others = [ids.new_id() for _ in range(1000)]
    days = [TODAY + dt.timedelta(days=offset) for offset in range(AHEAD - DAYS + 1, AHEAD + 1)]
    wanted = dict.fromkeys(days, 0) | {OLD_DAY: old_rows}
    wanted |= {TODAY - dt.timedelta(days=offset): rows // NEWEST for offset in range(NEWEST)}

    def fill(table: str) -> None:
        with psycopg.connect(addresses["full"], autocommit=True) as connection:
            connection.execute("SET maintenance_work_mem = '512MB'")
            connection.execute("SET max_parallel_maintenance_workers = 0")
            for day, count in wanted.items():
                _partition(connection, table, day, count, [str(one) for one in others])
            connection.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(table)))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(fill, [*TABLES, "sms_submittedpart"]))
    with psycopg.connect(addresses["full"], autocommit=True) as connection:
        connection.execute("VACUUM (FREEZE, ANALYZE)")
        connection.execute("CHECKPOINT")
    return time.monotonic() - started


def _partition(
    connection: psycopg.Connection[tuple[object, ...]], table: str, day: dt.date, count: int, others: list[str]
) -> None:
    """Create, fill and attach the day's partition. Attaching builds the indexes, faster than row by row."""
    name = name_of(table, day)
    start = midnight(day)
    if connection.execute("SELECT to_regclass(%s)", [name]).fetchone() != (None,):
        if not count:
            return
        connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(name)))
    connection.execute(
        sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)").format(
            sql.Identifier(name), sql.Identifier(table)
        )
    )
    if count and table in _ROWS:
        # Today's rows end before now: sent messages come after them.
        end = min(midnight(day + dt.timedelta(days=1)), dt.datetime.now(tz=dt.UTC) - dt.timedelta(minutes=1))
        first, length = int(start.timestamp() * 1000), int((end - start).total_seconds() * 1000) - 1
        values = {"start": first, "length": length, "rows": count, "many": len(others), "balance": BALANCE}
        query = _ROWS[table].replace("{id}", _ID)
        for key, value in values.items():
            query = query.replace("{" + key + "}", str(value))
        query = query.replace("{customers}", "'{" + ",".join(others) + "}'")
        connection.execute(f'INSERT INTO "{name}" {query}')  # our own numbers
    low, high = ids.lowest_id(start), ids.lowest_id(start + dt.timedelta(days=1))
    connection.execute(
        sql.SQL("ALTER TABLE {} ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})").format(
            sql.Identifier(table), sql.Identifier(name), sql.Literal(str(low)), sql.Literal(str(high))
        )
    )


def print_line(document: dict[str, object]) -> None:
    """One JSON line."""
    sys.stdout.write(json.dumps(document, default=str) + "\n")
    sys.stdout.flush()
