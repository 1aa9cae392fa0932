"""The SQL statements that charge a customer and store its messages: of one request, or of several single sends at once.

Each is one transaction and one round trip. Items are passed as JSON: the same prepared statement serves one message and
10,000.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec
from django.db import Error, IntegrityError, OperationalError, connection
from psycopg.errors import LockNotAvailable

from apps.balance.charge import CHARGE_SEVERAL_AND_WAIT, CHARGE_SEVERAL_NOT_LOCKED
from apps.balance.charge_locks import CHARGE_LOCKS
from apps.sms.accept.idempotency import Claim, Record, record_find
from apps.sms.errors import RequestInProgress
from smsgateway.metrics import BALANCE_DEDUCTION, SMS_WRITTEN_TOGETHER

_ITEM = """
WITH item AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(items)s::json) AS item (
        position int, id uuid, recipient text, sender text, text text, encoding text, segments smallint,
        cost bigint, cost_so_far bigint, operator text, reference text, expires_at bigint, send_at bigint,
        priority text, callback_url text, metadata jsonb,
        customer_id uuid, request_id text, key text, fingerprint bytea, body text)
),
"""
# {paid}: joins `charged` to the items that each customer paid for. {request_id}: the id of an item's request.
_STORE = """
message AS (
    INSERT INTO sms_message
           (id, customer_id, recipient, sender, text, encoding, segments, cost, operator, reference, expires_at,
            send_at, priority, callback_url, metadata)
    SELECT item.id, charged.customer_id, item.recipient, item.sender, item.text, item.encoding, item.segments,
           item.cost, item.operator, item.reference, to_timestamp(item.expires_at / 1000.0::float8),
           to_timestamp(item.send_at / 1000.0::float8), item.priority, item.callback_url, item.metadata
      FROM {paid}
),
outbox AS (
    INSERT INTO sms_outboxentry (customer_id, message_id, request_id)
    SELECT charged.customer_id, item.id, {request_id}
      FROM {paid}
     ORDER BY item.position
),
scheduled AS (
    INSERT INTO sms_scheduledentry (customer_id, message_id, send_at, request_id)
    SELECT charged.customer_id, item.id, to_timestamp(item.send_at / 1000.0::float8), {request_id}
      FROM {paid}
     WHERE item.send_at IS NOT NULL
),
"""
_ONE = (
    _ITEM
    + """
prior AS (
    SELECT fingerprint, body, cut_at, balance
      FROM sms_idempotencyrecord
     WHERE customer_id = %(customer_id)s AND key = %(key)s::text
),
{charge},
"""
    + _STORE.format(paid="charged JOIN item ON item.position <= charged.count", request_id="%(request_id)s")
    + """
record AS (
    INSERT INTO sms_idempotencyrecord (customer_id, key, fingerprint, body, cut_at, balance)
    SELECT charged.customer_id, %(key)s::text, %(fingerprint)s::bytea, %(body)s::text,
           NULLIF(charged.count, %(count)s), charged.balance
      FROM charged
     WHERE %(key)s::text IS NOT NULL
)
SELECT locked.balance, locked.status, charged.balance, charged.count,
       prior.fingerprint, prior.body, prior.cut_at, prior.balance
  FROM (SELECT) AS one
  LEFT JOIN locked ON true
  LEFT JOIN charged ON true
  LEFT JOIN prior ON true
"""
)
# OFFSET 0 makes PostgreSQL look up each record by its key. It would plan a join by a guess of the number of items, and
# could read the whole table.
_SEVERAL = (
    _ITEM
    + """
prior AS (
    SELECT item.customer_id, item.key
      FROM item
     WHERE item.key IS NOT NULL
       AND EXISTS (SELECT FROM sms_idempotencyrecord AS record
                    WHERE record.customer_id = item.customer_id AND record.key = item.key OFFSET 0)
),
{charge},
"""
    + _STORE.format(paid="charged JOIN item USING (customer_id)", request_id="item.request_id")
    + """
record AS (
    INSERT INTO sms_idempotencyrecord (customer_id, key, fingerprint, body, balance)
    SELECT charged.customer_id, item.key, item.fingerprint, item.body,
           charged.balance + charged.total - item.cost_so_far
      FROM charged JOIN item USING (customer_id)
     WHERE item.key IS NOT NULL
)
SELECT payer.customer_id, locked.balance, locked.status, charged.balance + charged.total,
       CASE WHEN locked.customer_id IS NULL THEN
           (SELECT array_agg(prior.key) FROM prior WHERE prior.customer_id = payer.customer_id) END,
       CASE WHEN locked.customer_id IS NULL THEN
           EXISTS (SELECT FROM balance_account AS account WHERE account.customer_id = payer.customer_id) END
  FROM unnest(%(payers)s::uuid[]) AS payer (customer_id)
  LEFT JOIN locked USING (customer_id)
  LEFT JOIN charged USING (customer_id)
"""
)
_STATEMENTS = {name: _ONE.format(charge=lock.sql) for name, lock in CHARGE_LOCKS.items()}
NOT_LOCKED: Final = _SEVERAL.format(charge=CHARGE_SEVERAL_NOT_LOCKED)
_AND_WAIT: Final = _SEVERAL.format(charge=CHARGE_SEVERAL_AND_WAIT)


class Item(msgspec.Struct, kw_only=True, omit_defaults=True, frozen=True):
    """A message to be paid for, as the statements read it. Times are milliseconds since 1970 UTC.

    `position`: from 1. `cost_so_far`: what the items up to this one cost.
    """

    position: int
    id: UUID
    cost_so_far: int
    operator: str
    recipient: str
    sender: str
    text: str
    encoding: str
    segments: int
    cost: int
    expires_at: int
    reference: str
    send_at: int | None = None
    priority: str
    callback_url: str
    metadata: dict[str, str] | None = None
    # Its request, where several requests are written together.
    customer_id: UUID | None = None
    request_id: str = ""
    key: str | None = None
    fingerprint: str | None = None
    body: str | None = None


class Charge(NamedTuple):
    """A request's items and its customer. `total`: what they cost.

    `partial`: pay for the first items if the balance does not cover all. `make_body`: makes the body that is recorded
    for the `claim`.
    """

    customer_id: UUID
    items: list[Item]
    total: int
    partial: bool
    request_id: str
    claim: Claim | None
    make_body: Callable[[Sequence[UUID]], str] | None

    @property
    def body(self) -> str | None:
        """What is recorded for the claim."""
        if self.claim is None or self.make_body is None:
            return None
        return self.make_body([item.id for item in self.items])


class Outcome(NamedTuple):
    """What a statement found and did.

    `paid`: how many items were paid for. `balance`: after the charge, None if nothing was paid. `record`: of a request
    that was accepted before. If `balance_before` and `record` are None, the customer does not exist.
    """

    balance_before: int | None
    status: str | None
    balance: int | None
    paid: int | None
    record: Record | None = None


class Group(NamedTuple):
    """Single sends that one statement charges, and its parameters."""

    charges: Sequence[Charge]
    items: list[Item]
    parameters: dict[str, Any]


class Settled(NamedTuple):
    """What a statement did of a group: the outcomes by the message's id, and the charges that are left.

    `held`: somebody else has the account locked. `alone`: they were done before, or the balance covers some of the
    customer's charges only; each must be done by itself, in order.
    """

    outcomes: dict[UUID, Outcome | Exception]
    held: list[Charge]
    alone: list[Charge]


def group_of(charges: Sequence[Charge]) -> Group:
    """The group of these single sends, with the parameters of `NOT_LOCKED`."""
    items: list[Item] = []
    last: dict[UUID, Item] = {}
    for one in charges:
        items.append(_item_with_request(one, last.get(one.customer_id)))
        last[one.customer_id] = items[-1]
    return Group(charges, items, {"items": _encode(items).decode(), "payers": list(last)})


def settle(group: Group, rows: Sequence[Sequence[Any]]) -> Settled:
    """What the statement did, by its rows."""
    found = {row[0]: row[1:] for row in rows}
    cheapest: dict[UUID, int] = {}
    for one in group.charges:
        cheapest[one.customer_id] = min(one.total, cheapest.get(one.customer_id, one.total))
    settled = Settled({}, [], [])
    charged = 0
    for one, item in zip(group.charges, group.items, strict=True):
        balance, status, at_first, done_before, exists = found[one.customer_id]
        if at_first is not None:
            after = at_first - item.cost_so_far
            settled.outcomes[item.id] = Outcome(after + item.cost, "active", after, 1)
            charged += 1
        elif status is None and not exists:
            settled.outcomes[item.id] = Outcome(None, None, None, None)
        elif status is not None and (status != "active" or cheapest[one.customer_id] > balance):
            settled.outcomes[item.id] = Outcome(balance, status, None, None)
        elif status is not None or (item.key is not None and item.key in (done_before or ())):
            settled.alone.append(one)
        else:
            settled.held.append(one)
    SMS_WRITTEN_TOGETHER.observe(charged)
    return settled


def charge_together(charges: Sequence[Charge], *, lock: str) -> list[Outcome | Exception]:
    """The outcome of each single send, in order, as if they had been done one after the other.

    One statement does the simple ones: those of customers whose balance covers all of their charges, if none was done
    before. It skips locked accounts, so that no customer waits for another's lock; a second statement waits for those,
    not longer than one lock timeout for all of them. The rest is done one by one.
    """
    if lock != "row" or len(charges) == 1:
        return _one_by_one(charges, lock)
    outcomes: dict[UUID, Outcome | Exception] = {}
    try:
        held = _settle(NOT_LOCKED, charges, outcomes)
        if held:
            _settle(_AND_WAIT, held, outcomes)
    except Error as error:
        if is_lost(error):
            return [outcomes.get(one.items[0].id, error) for one in charges]
        if isinstance(error.__cause__, LockNotAvailable):
            _answer_held([one for one in charges if one.items[0].id not in outcomes], outcomes, error)
    left = [one for one in charges if one.items[0].id not in outcomes]
    outcomes.update(zip((one.items[0].id for one in left), _one_by_one(left, lock), strict=True))
    return [outcomes[one.items[0].id] for one in charges]


def is_lost(error: Exception) -> bool:
    """Whether PostgreSQL did not answer, so that it is unknown whether a statement was done."""
    return getattr(error.__cause__, "sqlstate", None) is None


def locked_too_long(one: Charge, error: Error) -> Exception:
    """The answer to a charge whose account stayed locked. `error`: what PostgreSQL reported."""
    if one.claim is None:
        return error
    in_progress = RequestInProgress("Send it again shortly with the same key.")
    in_progress.__cause__ = error
    return in_progress


def _settle(statement: str, charges: Sequence[Charge], outcomes: dict[UUID, Outcome | Exception]) -> list[Charge]:
    """Add the outcomes of what one statement did. Returns the charges whose accounts others have locked."""
    group = group_of(charges)
    started = time.perf_counter()
    with connection.cursor() as cursor:
        cursor.execute(statement, group.parameters)
        rows = cursor.fetchall()
    BALANCE_DEDUCTION.observe(time.perf_counter() - started)
    settled = settle(group, rows)
    outcomes |= settled.outcomes
    return settled.held


def _answer_held(charges: Sequence[Charge], outcomes: dict[UUID, Outcome | Exception], error: Error) -> None:
    """Charge those whose accounts nobody holds. The others have waited long enough: they get this error."""
    with contextlib.suppress(Error):
        held = _settle(NOT_LOCKED, charges, outcomes)
        outcomes |= {one.items[0].id: locked_too_long(one, error) for one in held}


def _one_by_one(charges: Sequence[Charge], lock: str) -> list[Outcome | Exception]:
    """The outcomes in order. Once an account stays locked too long, the customer's other charges do not wait again."""
    answers: list[Outcome | Exception] = []
    held: dict[UUID, Error] = {}
    for one in charges:
        error = held.get(one.customer_id)
        if error is not None and (one.claim is None or not _was_done(one)):
            answers.append(locked_too_long(one, error))
            continue
        try:
            answers.append(charge_alone(one, lock=lock))
        except Exception as failure:  # its own request raises it
            cause = failure.__cause__ if isinstance(failure, RequestInProgress) else failure
            if isinstance(cause, Error) and isinstance(cause.__cause__, LockNotAvailable):
                held[one.customer_id] = cause
            answers.append(failure)
    return answers


def _was_done(one: Charge) -> bool:
    return one.claim is not None and record_find(customer_id=one.customer_id, key=one.claim.key) is not None


def _item_with_request(one: Charge, before: Item | None) -> Item:
    """The item of a single send, with the fields of its request. `before`: the same customer's item before it."""
    (item,) = one.items
    claim = one.claim
    return msgspec.structs.replace(
        item,
        position=before.position + 1 if before else 1,
        cost_so_far=before.cost_so_far + item.cost if before else item.cost,
        customer_id=one.customer_id,
        request_id=one.request_id,
        key=claim and claim.key,
        fingerprint=claim and "\\x" + claim.fingerprint.hex(),
        body=one.body,
    )


def charge_alone(one: Charge, *, lock: str) -> Outcome:
    """Charge and store the items of one request. Raises RequestInProgress, django.db.Error."""
    claim = one.claim
    parameters: dict[str, Any] = {
        "customer_id": one.customer_id,
        "items": _encode(one.items).decode(),
        "total": one.total,
        "count": len(one.items),
        "partial": one.partial,
        "request_id": one.request_id,
        "key": claim and claim.key,
        "fingerprint": claim and claim.fingerprint,
        "body": one.body,
    }
    started = time.perf_counter()
    try:
        try:
            outcome = _execute(parameters, lock)
        except IntegrityError:
            # Another request with this key committed after the statement began. The second try sees its record.
            if claim is None:
                raise
            outcome = _execute(parameters, lock)
    except OperationalError as error:
        if claim is not None and isinstance(error.__cause__, LockNotAvailable):
            raise locked_too_long(one, error) from error
        raise
    BALANCE_DEDUCTION.observe(time.perf_counter() - started)
    return outcome


def _execute(parameters: dict[str, Any], lock: str) -> Outcome:
    with CHARGE_LOCKS[lock].held(parameters["customer_id"]), connection.cursor() as cursor:
        cursor.execute(_STATEMENTS[lock], parameters)
        before, status, after, paid, fingerprint, *record = cursor.fetchone()
    return Outcome(before, status, after, paid, fingerprint and Record(bytes(fingerprint), *record))


_encode = msgspec.json.Encoder().encode
