"""Accepting messages: one statement charges the account and writes ledger, messages and outbox, or nothing at all."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from django.db import IntegrityError, OperationalError, connection
from psycopg.errors import LockNotAvailable

from apps.balance.errors import InsufficientBalance
from apps.balance.locking import CHARGE_LOCKS
from apps.customers.errors import CustomerNotFound, CustomerSuspended
from apps.sms.drafts import Draft
from apps.sms.errors import IdempotencyKeyReused, RequestInProgress
from apps.sms.routing import FirstChoice, first_choices
from smsgateway import ids
from smsgateway.config import Config
from smsgateway.metrics import BALANCE_DEDUCTION, SMS_ACCEPTED

# The statement is one transaction and one round trip. Items come as JSON, whatever their number: one statement text,
# prepared once, for a single message and for 10,000.
_ACCEPT = """
WITH item AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(items)s::json) AS item (
        position int, id uuid, recipient text, sender text, text text, encoding text, segments smallint,
        cost bigint, cost_so_far bigint, operator text, reference text, expires_at float8, send_at float8,
        priority text, callback_url text, metadata jsonb)
),
prior AS (
    SELECT fingerprint, body, cut_at, balance
      FROM sms_idempotencyrecord
     WHERE customer_id = %(customer_id)s AND key = %(key)s::text
),
{charge},
message AS (
    INSERT INTO sms_message
           (id, customer_id, recipient, sender, text, encoding, segments, cost, operator, reference, expires_at,
            send_at, priority, callback_url, metadata)
    SELECT item.id, charged.customer_id, item.recipient, item.sender, item.text, item.encoding, item.segments,
           item.cost, item.operator, item.reference, to_timestamp(item.expires_at), to_timestamp(item.send_at),
           item.priority, item.callback_url, item.metadata
      FROM charged JOIN item ON item.position <= charged.count
),
outbox AS (
    INSERT INTO sms_outboxentry (customer_id, message_id, request_id)
    SELECT charged.customer_id, item.id, %(request_id)s
      FROM charged JOIN item ON item.position <= charged.count
     ORDER BY item.position
),
scheduled AS (
    INSERT INTO sms_scheduledentry (customer_id, message_id, send_at, request_id)
    SELECT charged.customer_id, item.id, to_timestamp(item.send_at), %(request_id)s
      FROM charged JOIN item ON item.position <= charged.count
     WHERE item.send_at IS NOT NULL
),
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
_STATEMENTS = {name: _ACCEPT.format(charge=lock.sql) for name, lock in CHARGE_LOCKS.items()}


class Once(NamedTuple):
    """That a request is to be done once, however often it comes. `answer` makes its body from the messages' ids."""

    key: str
    fingerprint: bytes
    answer: Callable[[Sequence[UUID]], str]


class Accepted(NamedTuple):
    """What was accepted: the messages' ids in the order of their drafts, and the balance after the charge.

    `cut_at`: of a partial request only so many drafts were accepted, from the first. `replayed` is the body of the
    first answer if the request had been done before; then there are no ids.
    """

    message_ids: list[UUID]
    balance: int
    cut_at: int | None = None
    replayed: str | None = None


class _Item(msgspec.Struct, omit_defaults=True):
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
    expires_at: float
    reference: str
    send_at: float | None = None
    # Not omitted, for the columns take no NULL: the default is none that a draft has.
    priority: str = "-"
    callback_url: str = "-"
    metadata: dict[str, str] | None = None


def messages_accept(
    *,
    customer_id: UUID,
    drafts: Sequence[Draft],
    config: Config,
    request_id: str = "",
    once: Once | None = None,
    partial: bool = False,
) -> Accepted:
    """Charge the customer for all drafts and store them for delivery, or change nothing.

    With `partial` the first drafts are accepted, so many as the balance covers. With `once` the same key is charged
    once: who comes second, even at the same moment, gets the first answer.

    Raises CustomerNotFound, CustomerSuspended, InsufficientBalance or IdempotencyKeyReused; RequestInProgress if the
    first request with the key takes too long; django.db.OperationalError if PostgreSQL does not answer, and then either
    all or nothing was done.
    """
    items, total = _items(drafts, first_choice=first_choices(customer_id=customer_id, config=config))
    parameters: dict[str, Any] = {
        "customer_id": customer_id,
        "items": _encode(items).decode(),
        "total": total,
        "count": len(items),
        "partial": partial,
        "request_id": request_id,
        "key": once and once.key,
        "fingerprint": once and once.fingerprint,
        "body": once and once.answer([item.id for item in items]),
    }
    balance_before, status, balance, count, *prior = _execute(parameters, once, lock=config.balance.lock)
    if once is not None and prior[0] is not None:
        return _replay(once, *prior)
    if balance_before is None:
        raise CustomerNotFound(f"No customer has the id {ids.to_text(customer_id)}.")
    if balance is None:
        if status != "active":
            raise CustomerSuspended("Ask the gateway's operators.")
        raise InsufficientBalance(
            f"The messages cost {total}, the balance is {balance_before}.", balance=balance_before, cost=total
        )
    accepted = items[:count]
    for operator, number in Counter([item.operator for item in accepted]).items():
        SMS_ACCEPTED.labels(operator).inc(number)
    return Accepted([item.id for item in items], balance, None if count == len(items) else count)


_encode = msgspec.json.Encoder().encode


def _execute(parameters: dict[str, Any], once: Once | None, *, lock: str) -> tuple[Any, ...]:
    started = time.perf_counter()
    try:
        try:
            row = _charge(parameters, lock)
        except IntegrityError:
            # Between our look at the records and our own, another request with this key was done. Now it is seen.
            if once is None:
                raise
            row = _charge(parameters, lock)
    except OperationalError as error:
        if once is not None and isinstance(error.__cause__, LockNotAvailable):
            raise RequestInProgress("Send it again shortly with the same key.") from error
        raise
    BALANCE_DEDUCTION.observe(time.perf_counter() - started)
    return row


def _charge(parameters: dict[str, Any], lock: str) -> tuple[Any, ...]:
    with CHARGE_LOCKS[lock].held(parameters["customer_id"]), connection.cursor() as cursor:
        cursor.execute(_STATEMENTS[lock], parameters)
        row: tuple[Any, ...] = cursor.fetchone()
    return row


def _replay(once: Once, fingerprint: bytes, body: str, cut_at: int | None, balance: int) -> Accepted:
    if bytes(fingerprint) != once.fingerprint:
        raise IdempotencyKeyReused("Use a new key for another request.")
    return Accepted([], balance, cut_at, body)


def _items(drafts: Sequence[Draft], *, first_choice: FirstChoice) -> tuple[list[_Item], int]:
    total = 0
    items = []
    for position, (id_, draft) in enumerate(zip(ids.new_ids(len(drafts)), drafts, strict=True), start=1):
        total += draft.cost
        items.append(
            _Item(
                position,
                id_,
                total,
                first_choice(draft.sender, draft.recipient, id_),
                draft.recipient,
                draft.sender,
                draft.text,
                draft.encoding,
                draft.segments,
                draft.cost,
                draft.expires_at / 1000,
                draft.reference,
                None if draft.send_at is None else draft.send_at / 1000,
                draft.priority,
                draft.callback_url,
                draft.metadata,
            )
        )
    return items, total
