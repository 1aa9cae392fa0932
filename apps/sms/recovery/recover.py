"""`manage.py recover`: brings a database that was restored to an earlier time to what Kafka knows.

Everything is keyed by ids that the events carry, so a second run changes nothing. See
docs/explanation/recovery.md for the reasoning, and what cannot be known.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Final, TypeVar
from uuid import UUID

import structlog
from confluent_kafka import Message as KafkaMessage
from django.db import Error as DatabaseError
from django.db import connection, transaction

from apps.balance import events as money
from apps.balance.models import LedgerEntry
from apps.balance.rebook import Lost, entries_rebook
from apps.balance.selectors import AccountOff, accounts_off
from apps.balance.services import lock_accounts
from apps.customers.models import Customer
from apps.sms import events
from apps.sms.models import Message, StatusEntry
from apps.sms.recovery import lost_messages
from apps.sms.recovery.already_sent import ended_take_out, sent_take_out
from apps.sms.recovery.lost_messages import customer_store, customers_missing, messages_missing, messages_store
from apps.sms.recovery.lost_refunds import refunds_rebook
from apps.sms.settlement import process as settlement
from smsgateway import ids
from smsgateway.config import Config
from smsgateway.config.partitioning import SEND_AHEAD_DAYS
from smsgateway.kafka.client import Partition, offset_of, partition_of
from smsgateway.kafka.positions import positions_read, recovery_begin, recovery_end
from smsgateway.kafka.ranges import Range, RangeReader
from smsgateway.partitions.bounds import among

log = structlog.get_logger(__name__)

_LOCK: Final = 0x534D5343  # "SMSC": one recovery at a time
Event = TypeVar("Event")
# Copies of a process record positions at different moments: a little before them is read again.
MARGIN: Final = 10_000
_EARLIER: Final = dt.timedelta(hours=1)
_LONGEST_WAIT: Final = dt.timedelta(days=SEND_AHEAD_DAYS + 1)
_ROUNDS: Final = 20
_SHOWN: Final = 1000


class AnotherRuns(Exception):
    """Another recovery is running"""


@dataclasses.dataclass(slots=True)
class Report:
    """What a run did, and what it could not know. `counts`: rows by what was done with them."""

    since: dt.datetime
    counts: Counter[str] = dataclasses.field(default_factory=Counter)
    added: Counter[UUID] = dataclasses.field(default_factory=Counter)
    textless: list[UUID] = dataclasses.field(default_factory=list)
    customers_unknown: set[UUID] = dataclasses.field(default_factory=set)
    unusable: dict[str, str] = dataclasses.field(default_factory=dict)
    gaps: list[str] = dataclasses.field(default_factory=list)
    recreated: list[str] = dataclasses.field(default_factory=list)
    accounts: list[AccountOff] = dataclasses.field(default_factory=list)

    @property
    def knows_all(self) -> bool:
        """Whether every event was used, and every row has all that it had."""
        return not (
            self.added or self.textless or self.customers_unknown or self.unusable or self.gaps or self.accounts
        )


def recover(*, config: Config, since: dt.datetime | None = None) -> Report:
    """Replay what Kafka holds into this database. Settlement and the relay must not run.

    Reads from the positions that the database recorded, or from `since`. Raises AnotherRuns, kafka.KafkaUnavailable,
    django.db.Error; it can be called again then.
    """
    with _single_run(), RangeReader(config.kafka, client_id="smsgateway-recover") as reader:
        return _Recovery(config, reader, since).run()


@contextmanager
def _single_run() -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [_LOCK])
        if not cursor.fetchone()[0]:
            raise AnotherRuns
        cursor.execute("SET statement_timeout = 0")
    try:
        yield
    finally:
        with suppress(DatabaseError), connection.cursor() as cursor:  # a broken connection has released the lock
            cursor.execute("SELECT pg_advisory_unlock(%s)", [_LOCK])
            cursor.execute("RESET statement_timeout")


class _Recovery:
    def __init__(self, config: Config, reader: RangeReader, since: dt.datetime | None) -> None:
        self._config = config
        self._reader = reader
        kafka = config.kafka
        self._lanes = list(kafka.delivery_lanes.values())
        self.report = Report(since or _newest_row() - _EARLIER)
        self.report.since = recovery_begin(self.report.since)
        topics = [kafka.topic_accepted, *self._lanes, kafka.topic_money, *kafka.settled_topics]
        self._ranges = self._choose(topics, is_asked=since is not None)

    def run(self) -> Report:
        for batch in self._events([self._config.kafka.topic_money], money.decode):
            self._accounts(batch)
        cover = False
        for number in range(_ROUNDS):
            changed, uncovered = self._round(cover=cover)
            log.info("recovery_round", number=number + 1, changed=changed, uncovered=uncovered)
            if not uncovered:
                break
            # What a balance does not cover waits for refunds. When a round brings nothing, the credit is unknown.
            cover = not changed or number >= _ROUNDS - 2
        for batch in self._events(self._lanes, events.decode_delivery):
            self.report.counts["waiting rows of sent messages removed"] += sent_take_out(orders=batch)
        self.report.counts["waiting rows of sent messages removed"] += ended_take_out()
        while found := lost_messages.textless_end(since=self.report.since - _LONGEST_WAIT):
            self.report.counts["messages without text failed and refunded"] += len(found)
            self.report.textless += found[: _SHOWN - len(self.report.textless)]
        self.report.accounts = accounts_off()
        recovery_end({place: found.end for place, found in self._ranges.items()})
        return self.report

    def _round(self, *, cover: bool) -> tuple[int, int]:
        """Book and settle everything once; return how many rows changed, and how many a balance did not cover."""
        counts = self.report.counts
        before, uncovered = counts.total(), 0
        for bookings in self._events([self._config.kafka.topic_money], money.decode):
            uncovered += self._book([event for event in bookings if isinstance(event, money.MoneyBooked)], cover=cover)
        for orders in self._events(self._lanes, events.decode_delivery):
            uncovered += self._store(
                {ids.from_text(order.message_id): order for order in orders},
                make=lost_messages.message_of,
                what="messages stored and charged again",
                cover=cover,
            )
        for accepted in self._events([self._config.kafka.topic_accepted], events.decode_accepted):
            uncovered += self._store(
                {ids.from_text(event.message_id): event for event in accepted},
                make=lost_messages.textless_message_of,
                what="messages without text stored and charged again",
                cover=cover,
            )
            lost_messages.send_times_store(accepted=accepted)
        self.report.unusable = {}
        for messages in self._read(self._config.kafka.settled_topics):
            self._settle(messages)
        return counts.total() - before, uncovered

    def _accounts(self, batch: Sequence[money.MoneyEvent]) -> None:
        opened = {ids.from_text(one.customer_id): one for one in batch if isinstance(one, money.AccountOpened)}
        for customer_id in customers_missing(customer_ids=opened):
            one = opened[customer_id]
            customer_store(
                customer_id=customer_id,
                name=one.name,
                pace=one.segments_per_second,
                currency=one.currency,
                status=Customer.Status.ACTIVE,
            )
            self.report.counts["customers created again"] += 1

    def _unknown_customers(self, found: Mapping[UUID, int]) -> None:
        """Store customers of which only the id and the pace are known. They are suspended until somebody has looked."""
        for customer_id in customers_missing(customer_ids=found):
            customer_store(
                customer_id=customer_id,
                name=f"recovered {ids.to_text(customer_id)}",
                pace=found[customer_id],
                currency=self._config.sms.currency,
                status=Customer.Status.SUSPENDED,
            )
            self.report.customers_unknown.add(customer_id)

    def _book(self, batch: Sequence[money.MoneyBooked], *, cover: bool) -> int:
        if not batch:
            return 0
        lost = [_lost(event) for event in batch]
        self._unknown_customers(dict.fromkeys((one.customer_id for one in lost), 1))
        with transaction.atomic():
            accounts = lock_accounts(customer_ids={one.customer_id for one in lost})
            done = entries_rebook(accounts=accounts, lost=lost, cover=cover)
        for one in lost:
            if one.id in done.booked:
                self.report.counts[f"{LedgerEntry.Kind(one.kind).label.lower()}s booked again"] += 1
        self.report.added.update(done.added)
        return len(done.uncovered)

    def _store(self, found: Mapping[UUID, Event], *, make: Callable[[Event], Message], what: str, cover: bool) -> int:
        missing = messages_missing(message_ids=found.keys())
        if not missing:
            return 0
        paces: dict[UUID, int] = {}
        for message_id in missing:
            event = found[message_id]
            paces[ids.from_text(event.customer_id)] = getattr(event, "segments_per_second", 1)  # type: ignore[attr-defined]
        self._unknown_customers(paces)
        stored = messages_store(messages=[make(found[message_id]) for message_id in sorted(missing)], cover=cover)
        self.report.counts[what] += len(stored.messages)
        self.report.added.update(stored.added)
        return len(stored.uncovered)

    def _settle(self, messages: list[KafkaMessage]) -> None:
        before = _log_size(messages)
        for message, reason in settlement.write(messages):
            if len(self.report.unusable) < _SHOWN:
                place = f"{message.topic()} {partition_of(message)}:{offset_of(message)}"
                self.report.unusable[place] = reason
        refunds = refunds_rebook(batch=[one for one in _decoded(messages, events.decode_settled) if _is_refund(one)])
        self.report.counts["statuses recorded again"] += _log_size(messages) - before
        self.report.counts["refunds booked again"] += refunds.booked

    def _choose(self, topics: Collection[str], *, is_asked: bool) -> dict[Partition, Range]:
        """Where to read from, in each partition: where the database's knowledge ends."""
        held = self._reader.whole(topics)
        known = {} if is_asked else positions_read(topics)
        by_time = self._reader.since(held.keys(), int(self.report.since.timestamp() * 1000))
        chosen = {}
        for place, found in held.items():
            name = f"{place[0]} {place[1]}"
            position = known.get(place)
            if position is not None and position > found.end:
                self.report.recreated.append(name)
                position = found.start
            elif position is not None and position < found.start and not is_asked:
                self.report.gaps.append(f"{name}: the offsets {position} to {found.start - 1} were deleted")
            if position is None:
                position = by_time[place]
            chosen[place] = Range(min(max(found.start, position - MARGIN), found.end), found.end)
        return chosen

    def _read(self, topics: Collection[str]) -> Iterator[list[KafkaMessage]]:
        return self._reader.read({place: found for place, found in self._ranges.items() if place[0] in topics})

    def _events(self, topics: Collection[str], decode: Callable[[bytes], Event]) -> Iterator[list[Event]]:
        for messages in self._read(topics):
            yield list(_decoded(messages, decode))


def _newest_row() -> dt.datetime:
    """When the newest message or entry of the database was made."""
    newest = [
        ids.moment(found)
        for model in (Message, LedgerEntry)
        if (found := model.objects.order_by("-id").values_list("id", flat=True).first())
    ]
    return max(newest, default=dt.datetime.fromtimestamp(0, tz=dt.UTC) + 2 * _EARLIER)


def _log_size(messages: Iterable[KafkaMessage]) -> int:
    """How many statuses the messages of these events have."""
    found = {
        ids.from_text(one.message_id)
        for one in _decoded(messages, events.decode_settled)
        if isinstance(one, events.StatusChanged)
    }
    return StatusEntry.objects.filter(**among("message_id", found)).count() if found else 0


def _decoded(messages: Iterable[KafkaMessage], decode: Callable[[bytes], Event]) -> Iterator[Event]:
    for message in messages:
        try:
            yield decode(message.value() or b"")
        except events.UnreadableEvent:
            continue  # settlement and the worker have made a dead letter of it


def _is_refund(event: object) -> bool:
    return isinstance(event, events.Refunded)


def _lost(event: money.MoneyBooked) -> Lost:
    return Lost(
        ids.from_text(event.entry_id),
        ids.from_text(event.customer_id),
        event.kind,
        event.amount,
        reference=event.reference,
        form_id=ids.from_text(event.form_id) if event.form_id else None,
    )
