"""Settlement: status events become rows of the status log, and failed messages are refunded once.

Kafka may bring an event twice: the status log's primary key (message, status) finds a repeated one. Refunds are decided
under the account's lock, and a unique index allows one refund for each message in any case. A batch takes a few
statements, however many events it has. Accounts are locked only where something may be refunded.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db import connection, transaction

from apps.balance.services import Refund, accounts_refund, lock_accounts
from apps.customers.models import Customer
from apps.sms import events, statuses
from apps.sms.callbacks.enqueue import callbacks_enqueue
from apps.sms.models import StatusEntry
from apps.sms.operators.base import RECEIPT_STATUSES
from apps.sms.outbox.writer import OutboxEvent, outbox_add
from apps.sms.receipts.matching import handover_of, receipts_match_waiting, submits_of
from apps.sms.receipts.operator_handovers import reference_key
from apps.sms.receipts.parts import Submission, parts_recorded, parts_store
from smsgateway import ids
from smsgateway.metrics import REFUNDED_AMOUNT, REFUNDS, SETTLE_DELIVERED_REFUNDED, SETTLE_EVENTS, SETTLE_REPEATED
from smsgateway.partitions.bounds import id_bounds, within

_MESSAGES: Final = f"""
SELECT id, customer_id, cost FROM sms_message
 WHERE id = ANY(%(ids)s) AND {within("id")}
"""
_RECORDED: Final = f"""
SELECT message_id, status, refund, at FROM sms_statusentry
 WHERE message_id = ANY(%(ids)s) AND {within("message_id")}
"""
# Another settlement may write the same rows meanwhile: those returned are ours. They are sorted, so that two
# settlements of the same rows wait for each other instead of deadlocking. The row of `queued` is that of the last
# try; for every other status the first event counts.
_ENTRY_COLUMNS: Final = ("message_id", "status", "at", "operator", "operator_message_id", "error", "attempt", "refund")
_RECORD: Final = f"""
INSERT INTO sms_statusentry ({", ".join(_ENTRY_COLUMNS)})
SELECT * FROM unnest(%s::uuid[], %s::text[], %s::timestamptz[], %s::text[], %s::text[], %s::text[], %s::smallint[],
                     %s::bigint[]) AS entry (message_id, status)
 ORDER BY message_id, status
    ON CONFLICT (message_id, status) DO UPDATE
   SET at = excluded.at, operator = excluded.operator, error = excluded.error, attempt = excluded.attempt
 WHERE excluded.status = '{statuses.QUEUED}'
   AND (excluded.attempt, excluded.at) > (sms_statusentry.attempt, sms_statusentry.at)
RETURNING message_id, status
"""


class Settled(NamedTuple):
    """How many events of a batch were recorded, repeated, refunded; and those whose message does not exist."""

    recorded: int
    repeated: int
    refunded: int
    unknown: list[events.StatusChanged]


class _Known(NamedTuple):
    """An event whose message exists."""

    message_id: UUID
    customer_id: UUID
    cost: int
    event: events.StatusChanged


# By message: its recorded statuses, each with the amount that it refunded.
_Recorded = dict[UUID, dict[str, int]]


class _RecordedMeanwhile(Exception):
    """Another settlement recorded a refunding status first: the refunds must be decided again"""


def statuses_settle(*, batch: Sequence[events.StatusChanged]) -> Settled:
    """Record the events, refund messages that failed for good, and match the receipts that waited for these submits.

    Handling an event again changes nothing.
    """
    while True:
        try:
            with transaction.atomic():
                settled = _settle(batch)
            break
        except _RecordedMeanwhile:
            continue
    # Only after the commit: see `apps.sms.receipts.matching`. Also for repeated events: the process that recorded them
    # first may have died before this line.
    submits = [submit for event in batch if event.status == statuses.SUBMITTED for submit in submits_of(event)]
    receipts_match_waiting(submits=submits, handed_over={handed for event in batch if (handed := handover_of(event))})
    return settled


def _settle(batch: Sequence[events.StatusChanged]) -> Settled:
    known, unknown = _known(batch)
    recorded, submitted_at = _recorded({event.message_id for event in known})
    refunding = _refunding(known)
    entries = _entries(known, recorded, refunding, submitted_at)
    payers = {message_id: customer_id for message_id, customer_id, *_ in known}
    due = [entry for entry in entries if entry.refund]
    if due:
        accounts = lock_accounts(customer_ids={payers[entry.message_id] for entry in due})
        # Read again under the locks: a settlement that refunded before us has committed. Refunds can only become fewer.
        recorded |= _recorded({entry.message_id for entry in due})[0]
        entries = _entries(known, recorded, refunding, submitted_at)
        due = [entry for entry in entries if entry.refund]
    ours = _record(entries)
    if due:
        refunds: defaultdict[UUID, list[Refund]] = defaultdict(list)
        for entry in due:
            if (entry.message_id, entry.status) not in ours:
                raise _RecordedMeanwhile
            refunds[payers[entry.message_id]].append(Refund(entry.message_id, entry.refund))
        accounts_refund(accounts=accounts, refunds=refunds)
        outbox_add(_refund_event(customer_id, refund) for customer_id in refunds for refund in refunds[customer_id])
    # What these messages have reached for the first time, by this transaction.
    reached = [entry for entry in entries if (entry.message_id, entry.status) in ours]
    callbacks_enqueue(entries=reached)
    _store_parts(known, {message_id for message_id, status in ours if status == statuses.SUBMITTED})
    late = _delivered_after_refund(entries, recorded)
    transaction.on_commit(lambda: _count(reached, repeated=len(known) - len(reached), late=late))
    return Settled(len(reached), len(known) - len(reached), len(due), unknown)


def _known(batch: Sequence[events.StatusChanged]) -> tuple[list[_Known], list[events.StatusChanged]]:
    """The events with their messages, and those whose message does not exist."""
    message_ids = [ids.from_text(event.message_id) for event in batch]
    messages = {row[0]: (row[1], row[2]) for row in _read(_MESSAGES, set(message_ids))}
    known: list[_Known] = []
    unknown: list[events.StatusChanged] = []
    for message_id, event in zip(message_ids, batch, strict=True):
        if message_id in messages:
            known.append(_Known(message_id, *messages[message_id], event))
        else:
            unknown.append(event)
    return known, unknown


def _recorded(message_ids: Collection[UUID]) -> tuple[_Recorded, dict[UUID, dt.datetime]]:
    """The recorded statuses of these messages, and when they were submitted."""
    recorded: _Recorded = {message_id: {} for message_id in message_ids}
    submitted_at = {}
    for message_id, status, refund, at in _read(_RECORDED, message_ids):
        recorded[message_id][status] = refund
        if status == statuses.SUBMITTED:
            submitted_at[message_id] = at
    return recorded, submitted_at


def _read(query: str, message_ids: Collection[UUID]) -> list[tuple[Any, ...]]:
    if not message_ids:
        return []
    with connection.cursor() as cursor:
        cursor.execute(query, id_bounds(message_ids))
        return list(cursor.fetchall())


def _refunding(known: Sequence[_Known]) -> Mapping[UUID, Collection[str]]:
    """By customer: the statuses that it is refunded for. Only customers with a failure in this batch are read."""
    failed = {customer_id for _, customer_id, _, event in known if event.status in statuses.REFUNDABLE}
    return dict(Customer.objects.filter(id__in=failed).values_list("id", "refund_on")) if failed else {}


def _entries(
    known: Sequence[_Known],
    recorded: _Recorded,
    refunding: Mapping[UUID, Collection[str]],
    submitted_at: Mapping[UUID, dt.datetime],
) -> list[StatusEntry]:
    """The entries to write for these events, in their order, each with the amount to refund."""
    submitted_at = dict(submitted_at)
    entries: list[StatusEntry] = []
    reached: _Recorded = {}
    for message_id, customer_id, cost, event in _without_earlier_tries(known):
        before = reached.get(message_id)
        if before is None:
            before = reached[message_id] = dict(recorded[message_id])
        status = event.status
        if status in before and status != statuses.QUEUED:
            continue
        refund = 0
        if status in statuses.REFUNDABLE and status in refunding.get(customer_id, ()):
            refund = 0 if statuses.DELIVERED in before or any(before.values()) else cost
        before[status] = refund
        at = ids.moment_of(event.at)
        if status == statuses.SUBMITTED:
            submitted_at.setdefault(message_id, at)
        elif status in RECEIPT_STATUSES:  # earlier versions did not correct the operator's time
            at = max(submitted_at.get(message_id, at), at)
        entries.append(
            StatusEntry(
                message_id=message_id,
                status=status,
                at=at,
                operator=event.operator,
                operator_message_id=event.operator_message_id,
                error=event.error,
                attempt=event.attempt,
                refund=refund,
            )
        )
    return entries


def _without_earlier_tries(known: Sequence[_Known]) -> list[_Known]:
    """The events without the earlier tries of a message: one statement cannot write a row twice."""
    last: dict[UUID, _Known] = {}
    for found in known:
        if found.event.status == statuses.QUEUED:
            last[found.message_id] = max(last.get(found.message_id, found), found, key=_try)
    return [found for found in known if found.event.status != statuses.QUEUED or last[found.message_id] is found]


def _try(found: _Known) -> tuple[int, int]:
    """Its place among the tries of its message: a full queue of its recipient counts none, and comes again."""
    return found.event.attempt, found.event.at


def _record(entries: Sequence[StatusEntry]) -> set[tuple[UUID, str]]:
    """Write the entries; return (message, status) of those that were not written before."""
    if not entries:
        return set()
    with connection.cursor() as cursor:
        cursor.execute(_RECORD, [[getattr(entry, name) for entry in entries] for name in _ENTRY_COLUMNS])
        return set(cursor.fetchall())


def _refund_event(customer_id: UUID, refund: Refund) -> OutboxEvent:
    event = events.refunded(customer_id=customer_id, message_id=refund.message_id, amount=refund.amount)
    return OutboxEvent(customer_id, refund.message_id, event)


def _store_parts(known: Sequence[_Known], first: set[UUID]) -> None:
    """Store the operators' ids of the submits. `first`: the messages whose first submit is among these events."""
    new: list[Submission] = []
    again: dict[Submission, None] = {}
    for message_id, _, _, event in known:
        if event.status != statuses.SUBMITTED:
            continue
        # Some operators give an id for the first part alone, or the same for all.
        given = tuple(dict.fromkeys(filter(None, (event.operator_message_id, *event.part_ids))))
        operator_ids = given or (reference_key(message_id),)
        submission = Submission(message_id, event.operator, operator_ids, event.speaking_part)
        if message_id in first:
            first.discard(message_id)
            new.append(submission)
        else:
            again[submission] = None
    parts_store(new)
    if again:  # a repeated event, or a message that was submitted again, with new ids, after a crash
        repeated = parts_recorded(list(again))
        more = [submission for submission in again if submission not in repeated]
        # The status log names only the operator of the first submit, so the reference is stored as a part too.
        parts_store(more + [taken._replace(operator_ids=(reference_key(taken.message_id),)) for taken in more])


def _delivered_after_refund(entries: Sequence[StatusEntry], recorded: _Recorded) -> int:
    refunded = {entry.message_id for entry in entries if entry.refund}
    return sum(
        entry.message_id in refunded or any(recorded[entry.message_id].values())
        for entry in entries
        if entry.status == statuses.DELIVERED
    )


def _count(reached: Sequence[StatusEntry], *, repeated: int, late: int) -> None:
    SETTLE_REPEATED.inc(repeated)
    SETTLE_DELIVERED_REFUNDED.inc(late)
    for labels, count in Counter((entry.status, entry.operator) for entry in reached).items():
        SETTLE_EVENTS.labels(*labels).inc(count)
    for status, count in Counter(entry.status for entry in reached if entry.refund).items():
        REFUNDS.labels(status).inc(count)
    REFUNDED_AMOUNT.inc(sum(entry.refund for entry in reached))
