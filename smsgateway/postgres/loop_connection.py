"""A database connection of the event loop's own: statements wait for PostgreSQL without blocking the loop."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from typing import Any, Final

import psycopg
from django import db
from django.conf import settings

# After a failed connect, others fail at once for this long.
_BACKOFF_SECONDS: Final = 0.5
# How much longer than PostgreSQL's own limit to wait for its answer.
_MARGIN_SECONDS: Final = 5.0
# A statement takes one item or many: PostgreSQL would plan it again for each few items, which takes as long as it runs.
_ONE_PLAN: Final = "-c plan_cache_mode=force_generic_plan"
# What psycopg's connection does not take, or takes only if it is not async.
_NOT_TAKEN: Final = ("cursor_factory", "context", "server_side_binding", "pool", "prepare_threshold")


class LoopConnection:
    """One connection, opened when it is needed. Each statement is a transaction. One statement at a time.

    Errors are those of `django.db`, with psycopg's as their cause.
    """

    def __init__(self) -> None:
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._closed_until = 0.0

    async def fetch(self, statement: str, parameters: Sequence[Any]) -> Sequence[tuple[Any, ...]]:
        """The rows of the statement, which has its parameters as $1, $2, … and is prepared at its first use.

        Raises django.db.Error; without a `sqlstate` it is unknown whether the statement was done.
        """
        try:
            connection = self._connection or await self._connect()
            async with asyncio.timeout(settings.CONFIG.database.statement_timeout / 1000 + _MARGIN_SECONDS):
                cursor = psycopg.AsyncRawCursor(connection)
                await cursor.execute(statement, parameters)
                return await cursor.fetchall()
        except TimeoutError as error:
            await self.close()
            raise db.OperationalError("PostgreSQL does not answer") from error
        except psycopg.Error as error:
            if self._connection is not None and (self._connection.closed or error.sqlstate is None):
                await self.close()
            raise _translated(error) from error

    async def close(self) -> None:
        """Close the connection; the next statement opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error):
                await connection.close()

    async def _connect(self) -> psycopg.AsyncConnection[Any]:
        if time.monotonic() < self._closed_until:
            raise psycopg.OperationalError("PostgreSQL was not reached a moment ago")
        given = db.connections["default"].get_connection_params()
        wanted = {name: value for name, value in given.items() if name not in _NOT_TAKEN}
        wanted["options"] = f"{wanted.get('options', '')} {_ONE_PLAN}".lstrip()
        try:
            async with asyncio.timeout(settings.CONFIG.database.connect_timeout):
                self._connection = await psycopg.AsyncConnection.connect(**wanted, autocommit=True)
        except (psycopg.Error, TimeoutError) as error:
            self._closed_until = time.monotonic() + _BACKOFF_SECONDS
            raise psycopg.OperationalError(str(error) or "no answer to a connect") from error
        self._connection.prepare_threshold = 0
        return self._connection


def _translated(error: psycopg.Error) -> db.Error:
    for kind in type(error).__mro__:
        found = getattr(db, kind.__name__, None)
        if isinstance(found, type) and issubclass(found, db.Error):
            return found(*error.args)
    return db.DatabaseError(*error.args)
