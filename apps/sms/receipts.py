"""Operators' delivery receipts, matched to their messages whatever the order in which they come.

A receipt with our reference is its message's. Any other is found by the id that the operator gave at the submit,
exactly as given. What it means becomes a status event in the outbox. A receipt whose submit is not recorded yet waits
in a table until it is.

No receipt slips between the two: whoever stores (a receipt that waits, or a submit) commits first, and looks for the
other one afterwards. So of two at once at least one sees the other, and both may: who deletes the waiting row has it.
Whoever dies between the two steps has acknowledged nothing, and is given the same again.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import DataError, connection, transaction

from apps.sms import events, statuses
from apps.sms.models import OutboxEntry, StatusEntry, WaitingReceipt
from apps.sms.operators.base import Receipt
from apps.sms.receipt_parts import Part, parts_find, parts_say
from smsgateway import gathering, ids
from smsgateway.copying import copy_rows
from smsgateway.metrics import RECEIPTS

Outcome = Literal["matched", "part", "repeated", "waiting", "unknown"]

_OUTBOX_COLUMNS: Final = ("customer_id", "message_id", "payload", "request_id")
_WAITING_COLUMNS: Final = ("id", "operator", "operator_message_id", "status", "error", "at", "request_id")

# After so long an operator may use an id again.
_REUSED_AFTER: Final = dt.timedelta(days=1)
# A receipt that came longer than this before its submit is of an older message with the same id. Both times are ours;
# the clocks of our machines may differ by less.
_CLOCKS_DIFFER_MILLISECONDS: Final = 3_600_000

# Rows are locked in one order by all, and their order of arrival is kept.
_TAKE_WAITING: Final = """
DELETE FROM sms_waitingreceipt
 WHERE id IN (
    SELECT waiting.id
      FROM unnest(%(operators)s::text[], %(operator_ids)s::text[], %(since)s::uuid[])
           AS asked (operator, operator_message_id, since)
      JOIN sms_waitingreceipt AS waiting
        ON waiting.operator = asked.operator
       AND waiting.operator_message_id = asked.operator_message_id
       AND waiting.id >= asked.since
     ORDER BY waiting.id
       FOR UPDATE OF waiting)
RETURNING id, operator, operator_message_id, status, error, at, request_id
"""
# One text whatever their number, so that it stays prepared. The bounds leave out the partitions of other days.
_MESSAGES: Final = """
SELECT id, customer_id, segments, cost
  FROM sms_message
 WHERE id = ANY(%(ids)s) AND id >= %(first)s AND id <= %(last)s
"""


class Received(NamedTuple):
    """A receipt and the operator it came from. `waiting_id` is its row's, if it waited."""

    operator: str
    receipt: Receipt
    request_id: str = ""
    waiting_id: UUID | None = None


class Submitted(NamedTuple):
    """An operator's id whose submit is recorded. Receipts with it that came before `since` (a ULID) are not meant."""

    operator: str
    operator_message_id: str
    since: UUID


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


def receipts_record(*, batch: Sequence[Received]) -> list[Outcome]:
    """Record receipts; what became of each, in their order.

    `matched`: its event is in the outbox. `part`: it is one of several of its message, and the others decide.
    `repeated`: a part's that was known. `waiting`: it is stored until its submit is recorded. `unknown`: it bears our
    reference and there is no such message, so nothing was stored.
    """
    with transaction.atomic():
        outcomes, waiting = _record(batch)
    if waiting:
        # Their submits may have been recorded meanwhile, and not have seen these.
        found = parts_find([(row.operator, row.operator_message_id) for row in waiting], days=_match_days())
        submits = [
            Submitted(row.operator, row.operator_message_id, row.id)
            for position, row in enumerate(waiting)
            if position in found and not _may_be_of_an_older_message(found[position])
        ]
        receipts_match_waiting(submits=submits)
    return outcomes


def receipt_record(received: Received) -> Outcome:
    """Record one receipt; what became of it. With those that have arrived at the same moment (`gathering`), if any."""
    return gathering.ask(_record_together, received)


def _record_together(batch: Sequence[Received]) -> Sequence[Outcome | Exception]:
    try:
        return receipts_record(batch=batch)
    except (DataError, ValueError, OverflowError) as error:
        if len(batch) == 1:
            return [error]
        # One of them cannot be stored: the others are not to suffer for it.
        return [outcome for received in batch for outcome in _record_together([received])]


def receipts_match_waiting(*, submits: Sequence[Submitted]) -> int:
    """Match the receipts that wait for these submits, which are committed; return how many did."""
    if not submits:
        return 0
    with transaction.atomic(), connection.cursor() as cursor:
        operators, operator_ids, since = zip(*submits, strict=True)
        cursor.execute(
            _TAKE_WAITING, {"operators": list(operators), "operator_ids": list(operator_ids), "since": list(since)}
        )
        taken = [_received(WaitingReceipt(**dict(zip(_WAITING_COLUMNS, row, strict=True)))) for row in cursor]
        _record(sorted(taken, key=lambda received: str(received.waiting_id)))
    return len(taken)


def submits_of(event: events.StatusChanged) -> list[Submitted]:
    """What receipts may wait for once this submit is recorded."""
    since = ids.lowest_id(ids.moment_of(max(event.at - _CLOCKS_DIFFER_MILLISECONDS, 0)))
    return [
        Submitted(event.operator, operator_id, since) for operator_id in (event.operator_message_id, *event.part_ids)
    ]


def _record(batch: Sequence[Received]) -> tuple[list[Outcome], list[WaitingReceipt]]:
    """Within a transaction: outcomes, and the rows that were stored to wait."""
    outcomes: list[Outcome] = ["unknown"] * len(batch)
    by_id = [position for position, received in enumerate(batch) if received.receipt.reference is None]
    keys = [(batch[position].operator, batch[position].receipt.operator_message_id) for position in by_id]
    parts = {by_id[index]: part for index, part in parts_find(keys, days=_match_days()).items()}
    referred = {position: r.receipt.reference for position, r in enumerate(batch) if r.receipt.reference is not None}
    messages = _messages({*referred.values(), *(part.message_id for part in parts.values())})
    settled = _settled_long_ago(parts.values())
    matches, waiting = [], []
    for position, received in enumerate(batch):
        part = parts.get(position)
        message = messages.get(part.message_id if part else referred.get(position, UUID(int=0)))
        if message is not None and not (part and _changes_nothing(received, settled.get(part.message_id))):
            matches.append(_Match(position, received, message, part))
        elif received.receipt.reference is None:
            outcomes[position] = "waiting"
            waiting.append(_waiting(received))
    said = parts_say([(m.position, m.part, m.received.receipt.status) for m in matches if m.part and m.part.parts > 1])
    for match in matches:
        outcomes[match.position] = said.get(match.position, "matched")
    with connection.cursor() as cursor:
        told = [_outbox_row(match) for match in matches if outcomes[match.position] == "matched"]
        if told:
            copy_rows(cursor, OutboxEntry._meta.db_table, _OUTBOX_COLUMNS, told)
        if waiting:
            rows = ([getattr(row, name) for name in _WAITING_COLUMNS] for row in waiting)
            copy_rows(cursor, WaitingReceipt._meta.db_table, _WAITING_COLUMNS, rows)
    counted = Counter((batch[position].operator, outcome) for position, outcome in enumerate(outcomes))
    transaction.on_commit(lambda: _count(counted))
    return outcomes, waiting


def _messages(message_ids: set[UUID]) -> dict[UUID, _Message]:
    if not message_ids:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(_MESSAGES, {"ids": list(message_ids), "first": min(message_ids), "last": max(message_ids)})
        return {row[0]: _Message(*row) for row in cursor}


def _settled_long_ago(parts: Iterable[Part]) -> dict[UUID, set[str]]:
    """The final statuses of those messages whose operator may have used their id again since."""
    older = {part.message_id for part in parts if _may_be_of_an_older_message(part)}
    settled: dict[UUID, set[str]] = {}
    if older:
        found = StatusEntry.objects.filter(
            message_id__in=older, message_id__gte=min(older), message_id__lte=max(older), status__in=statuses.FINAL
        )
        for message_id, status in found.values_list("message_id", "status"):
            settled.setdefault(message_id, set()).add(status)
    return settled


def _may_be_of_an_older_message(part: Part) -> bool:
    return ids.moment(part.submission_id) < dt.datetime.now(tz=dt.UTC) - _REUSED_AFTER


def _changes_nothing(received: Received, final: set[str] | None) -> bool:
    """Whether the message that was found has its receipt already: then this one may be for a message whose submit is
    not recorded yet, under an id that is used again, and waits for it."""
    return final is not None and (statuses.DELIVERED in final or received.receipt.status in final)


def _outbox_row(match: _Match) -> tuple[UUID, UUID, bytes, str]:
    message, receipt = match.message, match.received.receipt
    event = events.StatusChanged(
        message_id=ids.to_text(message.id),
        customer_id=ids.to_text(message.customer_id),
        status=receipt.status,
        at=receipt.at,
        operator=match.received.operator,
        operator_message_id=receipt.operator_message_id,
        error=receipt.error,
        segments=message.segments,
        cost=message.cost,
    )
    return message.customer_id, message.id, events.encode(event), match.received.request_id


def _waiting(received: Received) -> WaitingReceipt:
    receipt = received.receipt
    return WaitingReceipt(
        id=received.waiting_id or ids.new_id(),
        operator=received.operator,
        operator_message_id=receipt.operator_message_id,
        status=receipt.status,
        error=receipt.error,
        at=receipt.at,
        request_id=received.request_id,
    )


def _received(row: WaitingReceipt) -> Received:
    receipt = Receipt(
        reference=None,
        operator_message_id=row.operator_message_id,
        status=row.status,  # type: ignore[arg-type]  # stored from a Receipt
        error=row.error,
        at=row.at,
    )
    return Received(row.operator, receipt, row.request_id, row.id)


def _match_days() -> int:
    days: int = settings.CONFIG.receipts.match_days
    return days


def _count(counted: Counter[tuple[str, Outcome]]) -> None:
    for (operator, outcome), count in counted.items():
        RECEIPTS.labels(operator, outcome).inc(count)
