"""The settlement process: reads status events and operators' receipts in batches, and settles each.

Every few seconds, between two batches, it handles receipts that are missing (see `apps.sms.receipts.missing`).
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Container, Sequence
from typing import Final, TypeVar
from uuid import UUID

import structlog
from confluent_kafka import Consumer, Message, Producer
from django.conf import settings
from django.db import DataError, IntegrityError, InterfaceError, OperationalError, connection

from apps.sms import events, statuses
from apps.sms.errors import MessageNotFound
from apps.sms.messages.selectors import message_missing
from apps.sms.operators import registry
from apps.sms.operators.base import INTERMEDIATE, RECEIPT_STATUSES, Receipt
from apps.sms.operators.unread_receipts import StillUnreadable, unread_read
from apps.sms.receipts.matching import Received, receipts_record
from apps.sms.receipts.missing import LIMIT, messages_mark_unknown, receipts_drop
from apps.sms.receipts.notations import notations_compare
from apps.sms.receipts.unread import unread_keep_again
from apps.sms.settlement.service import statuses_settle
from apps.sms.suspension.held_messages import HeldEvent, held_record
from smsgateway import ids
from smsgateway.config import Config
from smsgateway.kafka import client as kafka
from smsgateway.kafka.batches import consume_batches
from smsgateway.kafka.groups import topics_by_process
from smsgateway.kafka.positions import positions_raise
from smsgateway.process import Process

log = structlog.get_logger(__name__)

Event = TypeVar("Event")
_RECEIPT_STATUSES: Final = RECEIPT_STATUSES | {INTERMEDIATE}
_Unusable = list[tuple[Message, str]]

_BATCH: Final = 1000
_WAIT_SECONDS: Final = 0.1
_PASS_SECONDS: Final = 5.0
_COMPARISON_SECONDS: Final = 60.0
# An IntegrityError means that a partition is missing. The events are right, and wait until there is one.
_UNAVAILABLE: Final = (OperationalError, InterfaceError, IntegrityError)


def run(
    process: Process,
    *,
    consumer: Consumer,
    dead_letters: Producer,
    config: Config,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Settle until the process is asked to stop.

    `check` is called before the first batch, and after each time that PostgreSQL did not answer: it raises an error of
    its own if nothing may be settled in this database (see `apps.sms.recovery.restored`).
    """
    checked = False

    def write_checked(messages: list[Message]) -> _Unusable:
        nonlocal checked
        try:
            if not checked:
                check()
                checked = True
            unusable = write(messages)
            # Before the offsets are committed: a database that lacks these positions was restored to before.
            positions_raise(kafka.positions_after(messages))
        except _UNAVAILABLE:
            checked = False
            connection.close()
            raise
        return unusable

    consume_batches(
        process,
        consumer=consumer,
        topics=topics_by_process(config.kafka)["settle"],
        write=write_checked,
        away=_UNAVAILABLE,
        dead_letters=dead_letters,
        dead_letter_topic=config.kafka.topic_dead_letter,
        batch=_BATCH,
        wait_seconds=_WAIT_SECONDS,
        config=config.kafka,
        each_round=MissingReceipts(
            wait=dt.timedelta(hours=config.receipts.wait), match_days=config.receipts.match_days
        ),
    )


class _UnknownStatus(Exception):
    """The event has a status that this version does not know"""


class MissingReceipts:
    """Called in each round: handles missing receipts every few seconds, or in each round while more are left."""

    def __init__(self, *, wait: dt.timedelta, match_days: int) -> None:
        self._wait = wait
        self._match_days = match_days
        self._next = float("-inf")
        self._next_comparison = time.monotonic() + _COMPARISON_SECONDS

    def __call__(self) -> None:
        if time.monotonic() < self._next:
            return
        more = False
        try:
            more = messages_mark_unknown(wait=self._wait) == LIMIT
            more |= receipts_drop(wait=self._wait) == LIMIT
            if time.monotonic() >= self._next_comparison:
                self._next_comparison = time.monotonic() + _COMPARISON_SECONDS
                notations_compare(days=self._match_days)
        except _UNAVAILABLE as error:
            log.error("receipt_pass_failed", error=str(error).strip())
            connection.close()
        if not more:
            self._next = time.monotonic() + _PASS_SECONDS


def write(messages: list[Message]) -> _Unusable:
    """Settle the events and return those that cannot be settled, each with the reason.

    Raises one of _UNAVAILABLE while PostgreSQL does not answer.
    """
    changed: list[tuple[Message, events.StatusChanged]] = []
    received: list[tuple[Message, Received]] = []
    held: list[tuple[Message, HeldEvent]] = []
    unusable: _Unusable = []
    came_back: list[tuple[events.ReceiptUnread, StillUnreadable]] = []
    for message in messages:
        try:
            event = events.decode_settled(message.value() or b"")
            if isinstance(event, events.StatusChanged):
                ids.from_text(event.message_id)
                _check_status(event.status, statuses.RANK)
                changed.append((message, event))
            elif isinstance(event, events.ReceiptReceived):
                _check_status(event.status, _RECEIPT_STATUSES)
                received.append((message, _received(event)))
            elif isinstance(event, events.ReceiptUnread):
                try:
                    received += [(message, again) for again in _read_again(event)]
                except StillUnreadable as error:
                    came_back.append((event, error))
            elif isinstance(event, events.MessageHeld):
                ids.from_text(event.message_id)
                held.append((message, HeldEvent(event, kafka.request_id_of(message))))
        except _UnknownStatus as error:
            unusable.append((message, f"unknown status: {error}"))
        except events.UnreadableEvent as error:
            unusable.append((message, f"unreadable: {error}"))
    try:
        # Submits before receipts, which then find them.
        unusable += _each_storable(changed, _settle)
        unusable += _each_storable(received, _match)
        # After the statuses: a message that has one is not held.
        unusable += _each_storable(held, _hold)
        unread_keep_again(came_back)
        return unusable
    except _UNAVAILABLE:
        connection.close()
        raise


def _check_status(status: str, known: Container[str]) -> None:
    if status not in known:
        raise _UnknownStatus(status)


def _received(event: events.ReceiptReceived) -> Received:
    """Raises ValueError for a receipt without any id, which no operator's connection should publish."""
    if not event.reference and not event.operator_message_id:
        raise ValueError("neither our reference nor the operator's id")
    receipt = Receipt(
        reference=ids.from_text(event.reference) if event.reference else None,
        operator_message_id=event.operator_message_id,
        status=event.status,  # type: ignore[arg-type]  # checked above
        error=event.error,
        at=event.at,
        state=event.state,
        tlvs=event.tlvs,
    )
    return Received(event.operator, receipt)


def _read_again(unread: events.ReceiptUnread) -> list[Received]:
    """The receipts in a replayed letter. Raises StillUnreadable."""
    operator = registry.shared_operators(settings.CONFIG).get(unread.operator)
    if operator is None:
        raise StillUnreadable("its operator is no operator any more", "")
    return [Received(unread.operator, receipt) for receipt in unread_read(unread, operator=operator)]


def _settle(batch: Sequence[events.StatusChanged]) -> list[str]:
    unknown = {id(event) for event in statuses_settle(batch=batch).unknown}
    return [_missing(ids.from_text(event.message_id)) if id(event) in unknown else "" for event in batch]


def _match(batch: Sequence[Received]) -> list[str]:
    outcomes = receipts_record(batch=batch)
    return [
        _missing(received.receipt.reference) if outcome == "unknown" else ""
        for received, outcome in zip(batch, outcomes, strict=True)
    ]


def _hold(batch: Sequence[HeldEvent]) -> list[str]:
    unknown = held_record(batch=batch)
    message_ids = [ids.from_text(held.event.message_id) for held in batch]
    return [_missing(message_id) if message_id in unknown else "" for message_id in message_ids]


def _missing(message_id: UUID | None) -> str:
    """Why there is no such message. The event of an archived one can be replayed once its partition is restored."""
    if message_id is None or isinstance(message_missing(message_id=message_id), MessageNotFound):
        return "unknown message"
    return f"archived message: restore the partition of {ids.moment(message_id):%Y-%m-%d}, then replay this"


def _each_storable(batch: Sequence[tuple[Message, Event]], store: Callable[[Sequence[Event]], list[str]]) -> _Unusable:
    """Store a batch and return the events whose message is missing. `store` returns a reason for each of these, and an
    empty text for the others.

    A batch that PostgreSQL refuses is halved until the event at fault is alone.
    """
    if not batch:
        return []
    try:
        missing = store([event for _, event in batch])
    except (DataError, ValueError, OverflowError) as error:
        if len(batch) == 1:
            return [(batch[0][0], f"cannot be stored: {error}")]
        middle = len(batch) // 2
        return _each_storable(batch[:middle], store) + _each_storable(batch[middle:], store)
    return [(message, reason) for (message, _), reason in zip(batch, missing, strict=True) if reason]
