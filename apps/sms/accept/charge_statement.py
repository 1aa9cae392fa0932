"""The SQL statements that charge a customer and store its messages: of one request, or of several single sends at once.

Each is one transaction and one round trip. Items are passed as JSON: the same prepared statement serves one message and
10,000.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from django.db import Error, IntegrityError, OperationalError, connection
from psycopg.errors import LockNotAvailable

from apps.balance.charge import CHARGE_SEVERAL_AND_WAIT, CHARGE_SEVERAL_NOT_LOCKED
from apps.balance.charge_locks import CHARGE_LOCKS
from apps.sms.accept.idempotency import Claim, Record
from apps.sms.errors import RequestInProgress
from smsgateway.http import coalesce
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
    SELECT item.customer_id
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
SELECT locked.customer_id, charged.balance + charged.total
  FROM locked
  LEFT JOIN charged USING (customer_id)
"""
)
_STATEMENTS = {name: _ONE.format(charge=lock.sql) for name, lock in CHARGE_LOCKS.items()}
_NOT_LOCKED = _SEVERAL.format(charge=CHARGE_SEVERAL_NOT_LOCKED)
_AND_WAIT = _SEVERAL.format(charge=CHARGE_SEVERAL_AND_WAIT)


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


def charge(one: Charge, *, lock: str) -> Outcome:
    """Charge and store, together with other single sends that arrive at this moment (see `smsgateway.http.coalesce`).

    Raises RequestInProgress, django.db.OperationalError.
    """
    if lock == "row" and len(one.items) == 1:
        return coalesce.ask(_together, one)
    return _alone(one, lock)


def _together(charges: Sequence[Charge]) -> list[Outcome | Exception]:
    """The outcome of each charge, as if they had been done one after the other.

    One statement does the simple ones: those of customers whose balance covers all of their charges, if none was done
    before. It skips locked accounts, so that no customer waits for another's lock; a second statement waits for those.
    The rest is done one by one.
    """
    outcomes: dict[UUID, Outcome | Exception] = {}
    left = charges
    for statement in (_NOT_LOCKED, _AND_WAIT):
        if len(left) == 1:
            break
        try:
            done, locked = _several(statement, left)
        except Error as error:
            if getattr(error.__cause__, "sqlstate", None) is None:
                # Unknown whether it was done: PostgreSQL did not answer.
                return [outcomes.get(one.items[0].id, error) for one in charges]
            break
        outcomes |= done
        left = [one for one in left if one.customer_id not in locked]
        if not left:
            break
    for one in charges:
        if (id_ := one.items[0].id) not in outcomes:
            outcomes[id_] = _alone_or_error(one)
    return [outcomes[one.items[0].id] for one in charges]


def _several(statement: str, charges: Sequence[Charge]) -> tuple[dict[UUID, Outcome], set[UUID]]:
    """The outcomes of what was charged, by the message's id; and the customers whose accounts were locked."""
    items: list[Item] = []
    last: dict[UUID, Item] = {}
    for one in charges:
        items.append(_item_with_request(one, last.get(one.customer_id)))
        last[one.customer_id] = items[-1]
    started = time.perf_counter()
    with connection.cursor() as cursor:
        cursor.execute(statement, {"items": _encode(items).decode(), "payers": list(last)})
        balances: dict[UUID, int | None] = dict(cursor.fetchall())
    BALANCE_DEDUCTION.observe(time.perf_counter() - started)
    done = {}
    for one, item in zip(charges, items, strict=True):
        if (at_first := balances.get(one.customer_id)) is not None:
            after = at_first - item.cost_so_far
            done[item.id] = Outcome(after + item.cost, "active", after, 1)
    SMS_WRITTEN_TOGETHER.observe(len(done))
    return done, set(balances)


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


def _alone_or_error(one: Charge) -> Outcome | Exception:
    try:
        return _alone(one, "row")
    except Exception as error:  # its own request raises it
        return error


def _alone(one: Charge, lock: str) -> Outcome:
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
            raise RequestInProgress("Send it again shortly with the same key.") from error
        raise
    BALANCE_DEDUCTION.observe(time.perf_counter() - started)
    return outcome


def _execute(parameters: dict[str, Any], lock: str) -> Outcome:
    with CHARGE_LOCKS[lock].held(parameters["customer_id"]), connection.cursor() as cursor:
        cursor.execute(_STATEMENTS[lock], parameters)
        before, status, after, paid, fingerprint, *record = cursor.fetchone()
    return Outcome(before, status, after, paid, fingerprint and Record(bytes(fingerprint), *record))


_encode = msgspec.json.Encoder().encode
