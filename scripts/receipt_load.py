"""Measures how many receipts per second one settlement process matches and settles, and checks each. Prints a JSON
line.

python -m scripts.receipt_load --messages 100000

Receipts come in random order, a fifth of them twice, a tenth of them before their submit is recorded; two operators
give the same ids, and a tenth of the messages has three parts with a receipt each. What settlement does with a batch is
measured (`apps.sms.settlement.process.write`); the way from the outbox over Kafka is not taken. Its own services run in
.devservices/bench.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from uuid import UUID

if TYPE_CHECKING:
    from apps.sms import events

BATCH = 1000
CUSTOMERS = 100
OPERATORS = ("mci", "irancell")
COST = 100
OUTCOMES = {"delivered": 16, "undelivered": 2, "expired": 1, "rejected": 1}
LONG = 3  # parts
# Deletes and returns the rows that the relay would publish, in its order.
_TAKE = """
WITH taken AS (DELETE FROM sms_outboxentry WHERE payload IS NOT NULL RETURNING id, payload)
SELECT payload FROM taken ORDER BY id
"""


class Sent(NamedTuple):
    """A message, its submit, and its expected end."""

    message_id: UUID
    customer_id: UUID
    operator: str
    operator_ids: tuple[str, ...]
    outcome: str


class KafkaMessage(NamedTuple):
    """An event in the form of a consumer's message."""

    body: bytes

    def value(self) -> bytes:
        return self.body


def run(*, customers: Sequence[UUID], messages: int, seed: int = 1) -> dict[str, Any]:
    """Send this many messages for these customers, and settle their receipts. Returns the rates and the faults.

    In the dictionary `wrong_status`, `wrong_refund` and `still_waiting` are counts that must be 0.
    """
    chance = random.Random(seed)
    sent = list(_send(customers, messages, chance))
    submits = [_submit(message) for message in sent]
    late = set(chance.sample(range(len(sent)), len(sent) // 10))
    clock = _Clock()
    clock.settle([submits[position] for position in range(len(sent)) if position not in late], "submits")
    clock.drain()
    clock.settle(_stream(sent, submits, late, chance), "receipts")
    while clock.drain():
        pass
    return {"messages": messages} | clock.figures() | _check(sent)


class _Clock:
    """Settles events in batches and adds up the time."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.events: Counter[str] = Counter()

    def settle(self, encoded: Sequence[bytes], kind: str) -> None:
        from apps.sms.settlement import process as settling

        for start in range(0, len(encoded), BATCH):
            batch = [KafkaMessage(body) for body in encoded[start : start + BATCH]]
            begun = time.perf_counter()
            unusable = settling.write(cast(Any, batch))
            self.seconds[kind] += time.perf_counter() - begun
            self.events[kind] += len(batch)
            assert not unusable, unusable[0]  # noqa: S101
            if kind == "receipts":
                self.drain()

    def drain(self) -> int:
        """Settle the outbox's events, as if the relay had published them; return their number."""
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute(_TAKE)
            taken = [bytes(payload) for (payload,) in cursor.fetchall()]
        self.settle(taken, "statuses")
        return len(taken)

    def figures(self) -> dict[str, Any]:
        rates = {f"{kind}_per_second": round(self.events[kind] / self.seconds[kind]) for kind in self.events}
        together = round(sum(self.events.values()) / sum(self.seconds.values()))
        return {f"{kind}": count for kind, count in self.events.items()} | rates | {"events_per_second": together}


def _send(customers: Sequence[UUID], messages: int, chance: random.Random) -> Iterator[Sent]:
    from django.conf import settings

    from apps.sms.accept.drafts import Draft
    from apps.sms.accept.service import messages_accept

    each = -(-messages // len(customers))
    numbers = list(range(messages))
    chance.shuffle(numbers)
    expires_at = (int(time.time()) + 86_400) * 1000
    for first, customer_id in zip(range(0, messages, each), customers, strict=False):
        drafts = [Draft("+989121234567", "", "hello", "gsm7", 1, COST, expires_at)] * min(each, messages - first)
        accepted = messages_accept(customer_id=customer_id, drafts=drafts, config=settings.CONFIG)
        for number, message_id in zip(numbers[first:], accepted.message_ids, strict=False):
            operator, given = OPERATORS[number % 2], f"{number // 2:09}"  # leading zeros, and the same of both
            parts = LONG if number % 20 < 2 else 1
            ids = (given, *(f"{given}-{part}" for part in range(2, parts + 1)))
            outcome = chance.choices(list(OUTCOMES), list(OUTCOMES.values()))[0]
            yield Sent(message_id, customer_id, operator, ids, outcome)


def _submit(message: Sent) -> bytes:
    from apps.sms import events
    from smsgateway import ids

    return events.encode(
        events.StatusChanged(
            message_id=ids.to_text(message.message_id),
            customer_id=ids.to_text(message.customer_id),
            status="submitted",
            at=time.time_ns() // 1_000_000,
            operator=message.operator,
            operator_message_id=message.operator_ids[0],
            part_ids=message.operator_ids[1:],
        )
    )


def _stream(sent: Sequence[Sent], submits: Sequence[bytes], late: set[int], chance: random.Random) -> list[bytes]:
    """Every receipt at a random place, a fifth of them at two places, and late submits behind their receipts."""
    placed: list[tuple[float, bytes]] = []
    for position, message in enumerate(sent):
        last = 0.0
        # One failed part decides; the other parts were delivered.
        failing = chance.randrange(len(message.operator_ids))
        for part, operator_id in enumerate(message.operator_ids):
            status = message.outcome if part == failing else "delivered"
            receipt = _receipt(message.operator, operator_id, status)
            places = [chance.random() for _ in range(2 if chance.random() < 0.2 else 1)]
            placed += [(place, receipt) for place in places]
            last = max(last, *places)
        if position in late:
            placed.append((chance.uniform(last, 1.1), submits[position]))
    placed.sort(key=lambda pair: pair[0])
    return [body for _, body in placed]


def _receipt(operator: str, operator_id: str, status: str) -> bytes:
    from apps.sms import events

    at = time.time_ns() // 1_000_000
    event: events.AnyEvent = events.ReceiptReceived(
        operator=operator, operator_message_id=operator_id, status=status, at=at
    )
    return events.encode(event)


def _check(sent: Sequence[Sent]) -> dict[str, int]:
    from apps.balance.models import LedgerEntry
    from apps.balance.selectors import accounts_off
    from apps.sms.messages.selectors import current_status
    from apps.sms.models import StatusEntry, WaitingReceipt

    reached: dict[UUID, list[str]] = {}
    lowest = min(message.message_id for message in sent)
    for message_id, status in StatusEntry.objects.filter(message_id__gte=lowest).values_list("message_id", "status"):
        reached.setdefault(message_id, []).append(status)
    refunds = Counter(
        LedgerEntry.objects.filter(kind="refund", amount=COST, message_id__gte=lowest).values_list(
            "message_id", flat=True
        )
    )
    due = Counter(message.message_id for message in sent if message.outcome != "delivered")
    return {
        "refunds": refunds.total(),
        "wrong_status": sum(
            current_status(reached.get(message.message_id, ["accepted"])) != message.outcome for message in sent
        ),
        "wrong_refund": sum(((refunds - due) + (due - refunds)).values()),
        "balance_not_ledger_sum": len(accounts_off()),
        "still_waiting": WaitingReceipt.objects.count(),
    }


def main() -> int:
    """Run on services of its own. Returns 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--customers", type=int, default=CUSTOMERS)
    arguments = parser.parse_args()
    from apps.devservices import stack
    from scripts.bench import DIRECTORY, EMPTY

    try:
        os.environ |= stack.up(DIRECTORY, environ={}, bound_to_pid=os.getpid()) | {
            "DEVSERVICES_DIR": str(DIRECTORY),
            "DJANGO_SETTINGS_MODULE": "smsgateway.settings",
            "LOG_LEVEL": "error",
        }
        import django

        django.setup()
        from django.core.management import call_command
        from django.db import connection

        from apps.balance.services import account_top_up, prepaid_customer_create

        call_command("migrate", verbosity=0)
        with connection.cursor() as cursor:
            cursor.execute(EMPTY)
        customers = []
        for number in range(arguments.customers):
            customer = prepaid_customer_create(name=f"bench-{number}", segments_per_second=100, currency="IRR")
            account_top_up(customer_id=customer.id, amount=10**15, reference="bench")
            customers.append(customer.id)
        figures = run(customers=customers, messages=arguments.messages)
        connection.close()
    finally:
        stack.down(DIRECTORY)
    sys.stdout.write(json.dumps(figures) + "\n")
    return 1 if any(figures[name] for name in ("wrong_status", "wrong_refund", "still_waiting")) else 0


if __name__ == "__main__":
    sys.exit(main())
