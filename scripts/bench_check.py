"""What must hold after a benchmark: each message was paid once, each balance is the sum of its ledger."""

from __future__ import annotations

from typing import Final, NamedTuple

import psycopg

from apps.devservices.processes import ServiceError

# Opening: the sum of an account's archived entries.
WRONG: Final = """
SELECT count(*)
  FROM balance_account AS account
 WHERE balance IS DISTINCT FROM
       coalesce((SELECT balance FROM balance_opening AS opening WHERE opening.customer_id = account.customer_id), 0) +
       coalesce((SELECT sum(amount) FROM balance_ledgerentry AS entry WHERE entry.customer_id = account.customer_id), 0)
"""
UNPAID: Final = """
SELECT count(*)
  FROM sms_message AS message
  FULL JOIN (SELECT id, -amount AS cost FROM balance_ledgerentry WHERE kind = 'charge') AS charge USING (id)
 WHERE message.cost IS DISTINCT FROM charge.cost
"""
MESSAGES: Final = "SELECT count(*) FROM sms_message"
RECEIPTS: Final = "SELECT count(*) FROM sms_outboxentry WHERE payload IS NOT NULL"
"""Receipts of submitted messages become events in the outbox, one each; without a relay they stay there."""


class Stored(NamedTuple):
    """The faults, which must be 0, and the rows that the answers promised."""

    wrong_balances: int
    unpaid: int
    rows: int


def stored(url: str, rows: str) -> Stored:
    """Count in the database with this URL, with the query `rows`. The API must have ended: it may still be writing."""
    with psycopg.connect(url, autocommit=True) as database:
        return Stored(number(database, WRONG), number(database, UNPAID), number(database, rows))


def require_stored(found: Stored, *, answered: int, unanswered: int, before: int, who: str) -> None:
    """Raises ServiceError unless the rows are those before, the `answered`, and at most the `unanswered`: the generator
    breaks off the requests under way when its time is over."""
    if found.wrong_balances or found.unpaid:
        raise ServiceError(
            f"{who}: {found.wrong_balances} balances are not the sum of their ledger,"
            f" {found.unpaid} messages were not paid once."
        )
    new = found.rows - before
    if not answered <= new <= answered + unanswered:
        raise ServiceError(f"{who}: {answered} were answered with 200, but the database has {new} of them.")


def number(database: psycopg.Connection, query: str) -> int:
    """The one number that the query returns."""
    (count,) = database.execute(query).fetchone() or (0,)
    return int(count)
