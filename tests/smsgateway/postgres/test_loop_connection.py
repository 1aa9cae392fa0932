"""The event loop's own connection: one plan for each statement, whatever its number of items."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from smsgateway.postgres.loop_connection import LoopConnection

# As the charges do: PostgreSQL takes a plan of its own for one payer to be cheaper than one for ten.
_JOIN = "SELECT name FROM customers_customer JOIN unnest($1::uuid[]) AS payer (id) USING (id)"
_PLANS = "SELECT sum(generic_plans), sum(custom_plans) FROM pg_prepared_statements WHERE statement LIKE 'SELECT name %'"


def test_a_statement_is_planned_once(transactional_db: None) -> None:
    async def scenario() -> Sequence[tuple[Any, ...]]:
        connection = LoopConnection()
        try:
            for _ in range(10):
                await connection.fetch(_JOIN, [["00000000-0000-0000-0000-000000000000"]])
            return await connection.fetch(_PLANS, [])
        finally:
            await connection.close()

    assert asyncio.run(scenario()) == [(10, 0)]
