"""Checks the accounts in PostgreSQL with its own SQL: the gateway's code must not audit itself."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple
from uuid import UUID

import psycopg

from apps.sms import statuses

Connection = psycopg.Connection[tuple[Any, ...]]


class Message(NamedTuple):
    """A stored message. `reached`: its statuses, each with its moment (Unix time); `refund`: as in the status log."""

    id: UUID
    segments: int
    cost: int
    reached: dict[str, float]
    refund: int

    @property
    def status(self) -> str:
        """The furthest status."""
        return max(self.reached, key=statuses.RANK.__getitem__, default=statuses.ACCEPTED)

    @property
    def is_final(self) -> bool:
        return self.status in statuses.FINAL


class Entry(NamedTuple):
    """An entry of the ledger."""

    number: int
    kind: str
    amount: int
    balance_after: int
    message_id: UUID | None


class Books(NamedTuple):
    """One customer's account, its ledger in order, and its messages.

    `opening`: the balance before the first ledger entry, and that entry's number minus one. Both are 0 until the oldest
    entries are archived.
    """

    balance: int
    entries: int
    ledger: list[Entry]
    messages: dict[UUID, Message]
    opening: tuple[int, int] = (0, 0)

    @property
    def ledger_sum(self) -> int:
        """The sum of all entries, with the opening balance."""
        return self.opening[0] + sum(entry.amount for entry in self.ledger)

    @property
    def spent(self) -> int:
        """Minor units of all charges."""
        return -sum(self.amounts("charge").values())

    @property
    def refunded(self) -> int:
        """Minor units of all refunds."""
        return sum(self.amounts("refund").values())

    def amounts(self, kind: str) -> dict[UUID | None, int]:
        """The amounts of the entries of one kind, by message."""
        return {entry.message_id: entry.amount for entry in self.ledger if entry.kind == kind}

    def faults(self) -> list[str]:
        """The faults of the account; empty if there are none."""
        opening, before = self.opening
        running = list(itertools.accumulate((entry.amount for entry in self.ledger), initial=opening))
        costs = {message.id: -message.cost for message in self.messages.values() if message.cost}
        refunds = {message.id: message.refund for message in self.messages.values() if message.refund}
        due = {m.id: m.cost for m in self.messages.values() if m.cost and m.status in statuses.REFUNDABLE}
        kinds = [(entry.kind, entry.message_id) for entry in self.ledger if entry.message_id]
        checks = {
            "the balance is not the sum of the ledger": self.balance == self.ledger_sum,
            "the balance is not that after the last entry": self.balance == running[-1],
            "an entry's balance does not follow from the one before": running[1:]
            == [entry.balance_after for entry in self.ledger],
            "the entries have gaps": [entry.number for entry in self.ledger]
            == list(range(before + 1, self.entries + 1)),
            "a message was charged or refunded twice": len(kinds) == len(set(kinds)),
            "the charges are not the costs of the messages": self.amounts("charge") == costs,
            "the refunds are not those of the status log": self.amounts("refund") == refunds,
            "the refunds are not the costs of the messages that failed": refunds == due,
        }
        return [fault for fault, is_right in checks.items() if not is_right]


_ACCOUNT = "SELECT balance, entries FROM balance_account WHERE customer_id = %s"
_OPENING = "SELECT balance, entries FROM balance_opening WHERE customer_id = %s"
_LEDGER = """
SELECT entry, kind, amount, balance_after, message_id
  FROM balance_ledgerentry WHERE customer_id = %s ORDER BY entry
"""
_MESSAGES = """
SELECT message.id, message.segments, message.cost,
       coalesce(jsonb_object_agg(log.status, extract(epoch FROM log.at)) FILTER (WHERE log.status <> ''), '{}'),
       coalesce(sum(log.refund), 0)::bigint
  FROM sms_message AS message LEFT JOIN sms_statusentry AS log ON log.message_id = message.id
 WHERE message.customer_id = %s
 GROUP BY message.id
"""
_UNSETTLED = """
SELECT count(*)
  FROM sms_message AS message
 WHERE customer_id = ANY(%s) AND NOT EXISTS (
       SELECT FROM sms_statusentry AS log WHERE log.message_id = message.id AND log.status = ANY(%s))
"""


def read(connection: Connection, customer_id: UUID) -> Books:
    """The customer's books at one moment."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        account = connection.execute(_ACCOUNT, [customer_id]).fetchone()
        opening = connection.execute(_OPENING, [customer_id]).fetchone() or (0, 0)
        entries = connection.execute(_LEDGER, [customer_id]).fetchall()
        messages = connection.execute(_MESSAGES, [customer_id]).fetchall()
    balance, count = account or (0, 0)
    by_id = {row[0]: Message(*row) for row in messages}
    return Books(balance, count, [Entry(*row) for row in entries], by_id, (opening[0], opening[1]))


def unsettled(connection: Connection, customer_ids: list[UUID]) -> int:
    """How many messages have no final status yet."""
    (count,) = connection.execute(_UNSETTLED, [customer_ids, list(statuses.FINAL)]).fetchone() or (0,)
    return int(count)
