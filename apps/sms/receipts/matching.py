"""Operators' delivery receipts, matched to their messages in any order of arrival.

A receipt with our reference counts once it is recorded that its operator got the message: an operator must not decide
about a message that went to another one, or that was not sent yet. Any other receipt finds its message by the id that
the operator gave at the submit, exactly as given. A matched receipt becomes a status event in the outbox. A receipt
whose submit is not recorded yet waits in a table.

No receipt is lost between the two. A process that stores a waiting receipt, or a submit, commits first and looks for
the other one afterwards. So of two at the same time at least one sees the other. If both do, the receipt belongs to the
process that deletes the waiting row. A process that dies between the two steps has acknowledged nothing, and gets the
same input again.
"""

from __future__ import annotations

import datetime as dt
import time
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

import msgspec
from django.conf import settings
from django.db import DataError, connection, transaction

from apps.sms import events, statuses
from apps.sms.models import StatusEntry, WaitingReceipt
from apps.sms.operators.base import INTERMEDIATE, Receipt
from apps.sms.outbox.writer import OutboxEvent, outbox_add
from apps.sms.receipts.notes import Note, notes_write
from apps.sms.receipts.operator_handovers import Handovers, ReferencedReceipt, handed_over_find, handovers_read
from apps.sms.receipts.parts import Part, parts_find, parts_update
from smsgateway import ids
from smsgateway.http import coalesce
from smsgateway.metrics import RECEIPTS
from smsgateway.partitions.bounds import among, id_bounds, within
from smsgateway.postgres.copy import copy_rows

Outcome = Literal["matched", "part", "repeated", "intermediate", "waiting", "unknown"]

_WAITING_COLUMNS: Final = (
    "id",
    "operator",
    "operator_message_id",
    "reference",
    "status",
    "error",
    "at",
    "request_id",
    "state",
    "tlvs",
)

# How many receipts of one request a transaction records.
_TOGETHER: Final = 1000
# An operator may use an id again after this time.
_REUSED_AFTER: Final = dt.timedelta(days=1)
# A receipt that came longer than this before its submit belongs to an older message with the same id. Both times are
# ours; the clocks of our machines differ by less.
_CLOCKS_DIFFER_MILLISECONDS: Final = 3_600_000

# All lock rows in the same order, that of arrival. Receipts with our reference are not matched by the operator's id.
_TAKE_BY_ID: Final = f"""
DELETE FROM sms_waitingreceipt
 WHERE id IN (
    SELECT waiting.id
      FROM unnest(%(operators)s::text[], %(operator_ids)s::text[], %(since)s::uuid[])
           AS asked (operator, operator_message_id, since)
      JOIN sms_waitingreceipt AS waiting
        ON waiting.operator = asked.operator
       AND waiting.operator_message_id = asked.operator_message_id
       AND waiting.id >= asked.since
     WHERE waiting.reference IS NULL
     ORDER BY waiting.id
       FOR UPDATE OF waiting)
RETURNING {", ".join(_WAITING_COLUMNS)}
"""
_TAKE_BY_REFERENCE: Final = f"""
DELETE FROM sms_waitingreceipt
 WHERE id IN (
    SELECT waiting.id
      FROM unnest(%(operators)s::text[], %(references)s::uuid[]) AS asked (operator, reference)
      JOIN sms_waitingreceipt AS waiting
        ON waiting.operator = asked.operator AND waiting.reference = asked.reference
     ORDER BY waiting.id
       FOR UPDATE OF waiting)
RETURNING {", ".join(_WAITING_COLUMNS)}
"""
# The same text for any number of messages, so that it stays prepared.
_MESSAGES: Final = f"""
SELECT id, customer_id, segments, cost
  FROM sms_message
 WHERE id = ANY(%(ids)s) AND {within("id")}
"""


class Received(NamedTuple):
    """A receipt and the operator it came from. `waiting_id`: the id of its row, if it waited."""

    operator: str
    receipt: Receipt
    request_id: str = ""
    waiting_id: UUID | None = None


class Submitted(NamedTuple):
    """An operator's id whose submit is recorded. Receipts with it before `since` (a ULID) are another's."""

    operator: str
    operator_message_id: str
    since: UUID


class HandedOver(NamedTuple):
    """It is recorded that an operator got a message: its receipts with our reference count from now on."""

    operator: str
    message_id: UUID


class _Message(NamedTuple):
    id: UUID
    customer_id: UUID
    segments: int
    cost: int


class _Match(NamedTuple):
    position: int
    received: Received
    message: _Message
    part: Part | None
    at: int


def receipts_record(*, batch: Sequence[Received]) -> list[Outcome]:
    """Record receipts; return the outcome of each, in their order.

    `matched`: its event is in the outbox. `part`: it is of one of several parts, and the other parts decide.
    `repeated`: the same receipt of a part came before. `intermediate`: the message is on its way, which is noted.
    `waiting`: it is stored until it is recorded that its operator got the message. `unknown`: it has our reference, but
    there is no such message; nothing was stored.
    """
    with transaction.atomic():
        outcomes, waiting = _record(batch)
    if waiting:
        # Their submits may have been recorded meanwhile, by a process that did not see these receipts.
        by_id = [row for row in waiting if row.reference is None]
        found = parts_find([(row.operator, row.operator_message_id) for row in by_id], days=_match_days())
        submits = [
            Submitted(row.operator, row.operator_message_id, row.id)
            for position, row in enumerate(by_id)
            if position in found and not _may_be_of_an_older_message(found[position])
        ]
        receipts_match_waiting(submits=submits, handed_over=_handed_over_by_now(waiting))
    return outcomes


def receipt_record(received: Received) -> Outcome:
    """Record one receipt, together with others that arrive at the same moment; return its outcome."""
    return RECEIPT_GROUP.ask(received)


def receipts_record_each(*, batch: Sequence[Received]) -> list[Outcome | Exception]:
    """Record receipts in batches; return the outcome of each, in their order.

    The outcome of a receipt that cannot be stored is the error that it causes; the others are recorded all the same.
    Raises django.db.OperationalError while PostgreSQL does not answer; what was recorded by then stays recorded.
    """
    outcomes: list[Outcome | Exception] = []
    for start in range(0, len(batch), _TOGETHER):
        outcomes += _record_together(batch[start : start + _TOGETHER])
    return outcomes


def _record_together(batch: Sequence[Received]) -> Sequence[Outcome | Exception]:
    try:
        return receipts_record(batch=batch)
    except (DataError, ValueError, OverflowError) as error:
        if len(batch) == 1:
            return [error]
        # One of them cannot be stored; the others can.
        return [outcome for received in batch for outcome in _record_together([received])]


RECEIPT_GROUP: Final[coalesce.Group[Received, Outcome]] = coalesce.Group(_record_together, name="receipts")


def receipts_match_waiting(*, submits: Sequence[Submitted], handed_over: Collection[HandedOver] = ()) -> int:
    """Match the receipts that waited for these submits and handovers, which must be committed; return how many."""
    taken: list[Received] = []
    if not submits and not handed_over:
        return 0
    with transaction.atomic(), connection.cursor() as cursor:
        if submits:
            operators, operator_ids, since = zip(*submits, strict=True)
            asked = {"operators": list(operators), "operator_ids": list(operator_ids), "since": list(since)}
            cursor.execute(_TAKE_BY_ID, asked)
            taken += map(_received, cursor.fetchall())
        if handed_over:
            operators, references = zip(*handed_over, strict=True)
            cursor.execute(_TAKE_BY_REFERENCE, {"operators": list(operators), "references": list(references)})
            taken += map(_received, cursor.fetchall())
        if taken:
            _record(sorted(taken, key=lambda received: str(received.waiting_id)))
    return len(taken)


def receipts_match_handed_over(*, before: UUID, limit: int) -> int:
    """Look at the `limit` oldest waiting receipts with our reference and an id below `before`. Match those of operators
    that are recorded by now to have got the message; return how many."""
    waiting = WaitingReceipt.objects.filter(id__lt=before, reference__isnull=False).order_by("id")[:limit]
    return receipts_match_waiting(submits=[], handed_over=_handed_over_by_now(waiting))


def submits_of(event: events.StatusChanged) -> list[Submitted]:
    """The operator's ids, if any, that waiting receipts can be matched by once this submit is recorded."""
    if not event.operator_message_id:
        return []
    since = ids.lowest_id(ids.moment_of(max(event.at - _CLOCKS_DIFFER_MILLISECONDS, 0)))
    return [
        Submitted(event.operator, operator_id, since) for operator_id in (event.operator_message_id, *event.part_ids)
    ]


def handover_of(event: events.StatusChanged) -> HandedOver | None:
    """What receipts with our reference may wait for once this event is recorded, if it says who got the message."""
    if event.status in (statuses.QUEUED, statuses.REJECTED):
        return None
    if event.status != statuses.SUBMITTED and not event.attempt:
        return None
    return HandedOver(event.operator, ids.from_text(event.message_id))


def _handed_over_by_now(waiting: Iterable[WaitingReceipt]) -> list[HandedOver]:
    referred = [
        ReferencedReceipt(row.operator, row.reference, row.operator_message_id)
        for row in waiting
        if row.reference is not None
    ]
    handovers = handovers_read({receipt.message_id for receipt in referred})
    found = handed_over_find(referred, handovers, days=_match_days())
    return [HandedOver(referred[position].operator, referred[position].message_id) for position in sorted(found)]


def _record(batch: Sequence[Received]) -> tuple[list[Outcome], list[WaitingReceipt]]:
    """Within a transaction: return the outcomes, and the waiting rows that were stored."""
    outcomes: list[Outcome] = ["unknown"] * len(batch)
    by_id = [position for position, received in enumerate(batch) if received.receipt.reference is None]
    keys = [(batch[position].operator, batch[position].receipt.operator_message_id) for position in by_id]
    parts = {by_id[index]: part for index, part in parts_find(keys, days=_match_days()).items()}
    # By position in the batch: the message that the receipt belongs to, as far as that is recorded.
    message_ids = {position: part.message_id for position, part in parts.items()}
    referred = {position: r.receipt.reference for position, r in enumerate(batch) if r.receipt.reference is not None}
    messages = _messages({*referred.values(), *message_ids.values()})
    handovers = handovers_read(messages.keys())
    with_message = [position for position, message_id in referred.items() if message_id in messages]
    receipts = [
        ReferencedReceipt(batch[position].operator, referred[position], batch[position].receipt.operator_message_id)
        for position in with_message
    ]
    for index in handed_over_find(receipts, handovers, days=_match_days()):
        message_ids[with_message[index]] = receipts[index].message_id
    final = _final_statuses_of_old(parts.values())
    matches, waiting, notes = [], [], []
    for position, received in enumerate(batch):
        part = parts.get(position)
        message = messages.get(message_ids[position]) if position in message_ids else None
        if message is not None and not (part and _changes_nothing(received, final.get(part.message_id))):
            at = _clamped(received.receipt.at, message, handovers)
            if received.receipt.status == INTERMEDIATE or received.receipt.tlvs:
                notes.append(Note(message.id, received.operator, received.receipt, at))
            if received.receipt.status == INTERMEDIATE:
                outcomes[position] = "intermediate"
            elif part and not part.parts:
                outcomes[position] = "part"  # another part speaks for the message
            else:
                matches.append(_Match(position, received, message, part, at))
        elif received.receipt.reference is None or referred[position] in messages:
            outcomes[position] = "waiting"
            waiting.append(_waiting(received))
    of_parts = parts_update(
        [(m.position, m.part, m.received.receipt.status) for m in matches if m.part and m.part.parts > 1]
    )
    for match in matches:
        outcomes[match.position] = of_parts.get(match.position, "matched")
    outbox_add(_outbox_event(match) for match in matches if outcomes[match.position] == "matched")
    notes_write(notes)
    if waiting:
        rows = ([getattr(row, name) for name in _WAITING_COLUMNS] for row in waiting)
        with connection.cursor() as cursor:
            copy_rows(cursor, WaitingReceipt._meta.db_table, _WAITING_COLUMNS, rows)
    counted = Counter((batch[position].operator, outcome) for position, outcome in enumerate(outcomes))
    transaction.on_commit(lambda: _count(counted))
    return outcomes, waiting


def _messages(message_ids: set[UUID]) -> dict[UUID, _Message]:
    if not message_ids:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(_MESSAGES, id_bounds(message_ids))
        return {row[0]: _Message(*row) for row in cursor}


def _clamped(at: int, message: _Message, handovers: Handovers) -> int:
    """The receipt's time, limited to between the submit and now. Operators send whole minutes, or wrong times."""
    earliest = handovers.submitted_at.get(message.id, ids.milliseconds(message.id))
    return max(earliest, min(at, time.time_ns() // 1_000_000))


def _final_statuses_of_old(parts: Iterable[Part]) -> dict[UUID, set[str]]:
    """The final statuses of messages so old that their operator may have used their id again."""
    older = {part.message_id for part in parts if _may_be_of_an_older_message(part)}
    final: dict[UUID, set[str]] = {}
    if older:
        found = StatusEntry.objects.filter(**among("message_id", older), status__in=statuses.FINAL)
        for message_id, status in found.values_list("message_id", "status"):
            final.setdefault(message_id, set()).add(status)
    return final


def _may_be_of_an_older_message(part: Part) -> bool:
    return ids.moment(part.submission_id) < dt.datetime.now(tz=dt.UTC) - _REUSED_AFTER


def _changes_nothing(received: Received, final: set[str] | None) -> bool:
    """Whether the message that was found has its receipt already. If so, the operator may have used the id again, for a
    message whose submit is not recorded yet: the receipt waits for that one."""
    if not final:
        return False
    status = received.receipt.status
    return status == INTERMEDIATE or statuses.DELIVERED in final or status in final


def _outbox_event(match: _Match) -> OutboxEvent:
    message, receipt = match.message, match.received.receipt
    event = events.status_changed(
        message,
        status=receipt.status,
        at=match.at,
        operator=match.received.operator,
        operator_message_id=receipt.operator_message_id,
        error=receipt.error,
    )
    return OutboxEvent(message.customer_id, message.id, event, match.received.request_id)


def _waiting(received: Received) -> WaitingReceipt:
    receipt = received.receipt
    return WaitingReceipt(
        id=received.waiting_id or ids.new_id(),
        operator=received.operator,
        operator_message_id=receipt.operator_message_id,
        reference=receipt.reference,
        status=receipt.status,
        error=receipt.error,
        at=min(receipt.at, time.time_ns() // 1_000_000),
        request_id=received.request_id,
        state=receipt.state,
        tlvs=msgspec.json.encode(receipt.tlvs).decode() if receipt.tlvs else "",
    )


def _received(columns: Sequence[Any]) -> Received:
    row = WaitingReceipt(**dict(zip(_WAITING_COLUMNS, columns, strict=True)))
    receipt = Receipt(
        reference=row.reference,
        operator_message_id=row.operator_message_id,
        status=row.status,  # type: ignore[arg-type]  # stored from a Receipt
        error=row.error,
        at=row.at,
        state=row.state,
        tlvs=msgspec.json.decode(row.tlvs, type=dict[str, str]) if row.tlvs else {},
    )
    return Received(row.operator, receipt, row.request_id, row.id)


def _match_days() -> int:
    days: int = settings.CONFIG.receipts.match_days
    return days


def _count(counted: Counter[tuple[str, Outcome]]) -> None:
    for (operator, outcome), count in counted.items():
        RECEIPTS.labels(operator, outcome).inc(count)
