"""What happens in a gateway, step by step in this process: accepted, relayed, submitted, settled."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from confluent_kafka import TopicPartition
from django.db import connection

from apps.balance.models import Account, BookedForm, LedgerEntry
from apps.balance.outbox import MoneyRelay
from apps.sms import events, statuses
from apps.sms.accept.drafts import Draft
from apps.sms.accept.service import messages_accept
from apps.sms.models import HeldMessage, Message, OutboxEntry, ScheduledEntry, StatusEntry
from apps.sms.outbox import relay
from apps.sms.settlement import process as settlement
from smsgateway import ids
from smsgateway.config import Config
from smsgateway.kafka import client as kafka
from smsgateway.kafka.client import Partition
from smsgateway.kafka.positions import positions_raise
from smsgateway.kafka.ranges import Range, RangeReader


class State(NamedTuple):
    """What a recovery must bring back, in a form that two databases can be compared by."""

    balances: dict[UUID, int]
    entries: set[tuple[Any, ...]]
    texts: dict[UUID, tuple[str, str]]
    statuses: set[tuple[UUID, str, int]]
    scheduled: set[UUID]
    forms: set[UUID]


def state() -> State:
    """The state of the database now. Refunds are compared by message: they get new ids."""
    entries = LedgerEntry.objects.values_list("id", "customer_id", "kind", "amount", "message_id", "reference")
    return State(
        balances=dict(Account.objects.values_list("customer_id", "balance")),
        entries={row[1:] if row[2] == LedgerEntry.Kind.REFUND else row for row in entries},
        texts={id_: (to, text) for id_, to, text in Message.objects.values_list("id", "recipient", "text")},
        statuses=set(StatusEntry.objects.values_list("message_id", "status", "refund")),
        scheduled=set(ScheduledEntry.objects.values_list("message_id", flat=True)),
        forms=set(BookedForm.objects.values_list("id", flat=True)),
    )


class SteppedGateway:
    """The gateway's processes, one step at a time, on a test's own topics."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.producer = kafka.producer(config.kafka, client_id="test")
        self.money = MoneyRelay(self.producer, topic=config.kafka.topic_money)
        self._read: dict[Partition, int] = {}
        self._submitted: dict[Partition, int] = {}

    def accept(
        self, customer_id: UUID, count: int, *, cost: int = 100, send_in: dt.timedelta | None = None
    ) -> list[UUID]:
        """Accept messages of these costs."""
        now = time.time_ns() // 1_000_000
        send_at = None if send_in is None else now + int(send_in.total_seconds() * 1000)
        drafts = [
            Draft(f"+98912{number:07}", "Shop", f"text {number}", "gsm7", 1, cost, now + 86_400_000, send_at=send_at)
            for number in range(count)
        ]
        return messages_accept(customer_id=customer_id, drafts=drafts, config=self.config).message_ids

    def relay(self) -> None:
        """What the relay does until nothing is left. It records how far it has written."""
        while self.money.round():
            pass
        relay.release_due()
        while relay.relay_round(producer=self.producer, config=self.config, positions=self.money.positions):
            pass
        own = {self.config.kafka.topic_accepted, self.config.kafka.topic_money}
        own |= set(self.config.kafka.delivery_lanes.values())
        positions_raise({place: offset for place, offset in self.money.positions.items() if place[0] in own})

    def submit(self, *, status: str = statuses.SUBMITTED) -> list[UUID]:
        """What the delivery workers do: every work order that was not read yet gets this status."""
        orders = []
        for message in self._new(list(self.config.kafka.delivery_lanes.values()), self._submitted):
            orders.append(events.decode_delivery(message.value() or b""))
        self.publish_statuses(orders, status)
        return [ids.from_text(order.message_id) for order in orders]

    def publish_statuses(self, orders: Sequence[events.DeliveryRequested], status: str) -> None:
        records = [
            kafka.Record(
                self.config.kafka.topic_status,
                order.customer_id.encode(),
                events.encode(
                    events.StatusChanged(
                        message_id=order.message_id,
                        customer_id=order.customer_id,
                        status=status,
                        at=time.time_ns() // 1_000_000,
                        operator="mci",
                        operator_message_id=f"mci-{order.message_id}-{status}",
                        attempt=1,
                        segments=order.segments,
                        cost=order.cost,
                    )
                ),
                [],
            )
            for order in orders
        ]
        kafka.publish_and_wait(self.producer, records)

    def settle(self) -> None:
        """What settlement does: it reads every status, then commits its offsets."""
        for message in self._new(list(self.config.kafka.settled_topics), self._read):
            assert settlement.write([message]) == []
        positions_raise(self._read)
        self.commit("settle", self._read)

    def commit(self, process: str, offsets: dict[Partition, int]) -> None:
        """Commit these offsets of a process's group."""
        consumer = kafka.consumer(self.config.kafka, process=process)
        if offsets:
            places = [TopicPartition(*place, offset) for place, offset in offsets.items()]
            consumer.commit(offsets=places, asynchronous=False)
        consumer.close()

    def _new(self, topics: list[str], read: dict[Partition, int]) -> list[Any]:
        with RangeReader(self.config.kafka, client_id="test") as reader:
            whole = reader.whole(topics)
            new = {place: Range(read.get(place, found.start), found.end) for place, found in whole.items()}
            found = [message for batch in reader.read(new) for message in batch]
        read |= {place: one.end for place, one in new.items()}
        return found


def make_due(message_ids: Sequence[UUID]) -> None:
    """The time of these scheduled messages has come."""
    past = dt.datetime.now(tz=dt.UTC) - dt.timedelta(minutes=1)
    ScheduledEntry.objects.filter(message_id__in=message_ids).update(send_at=past)


def waiting() -> set[UUID]:
    """Messages that this database would send."""
    found = set(OutboxEntry.objects.filter(payload=None).values_list("message_id", flat=True))
    found |= set(ScheduledEntry.objects.values_list("message_id", flat=True))
    return found | set(HeldMessage.objects.filter(is_held=True).values_list("message_id", flat=True))


def advisory_locks_released() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")
        return bool(cursor.fetchone()[0] == 0)
