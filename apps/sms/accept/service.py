"""Accepts messages: one statement charges the account and writes ledger, messages and outbox, or nothing at all."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple
from uuid import UUID

import prometheus_client
import structlog

from apps.balance.errors import InsufficientBalance
from apps.customers.errors import CustomerNotFound, CustomerSuspended
from apps.sms.accept.charge_group import charge
from apps.sms.accept.charge_statement import Charge, Item
from apps.sms.accept.drafts import Draft
from apps.sms.accept.idempotency import Claim, Record, record_find
from apps.sms.accept.metric_labels import customer_label
from apps.sms.errors import IdempotencyKeyReused
from apps.sms.routing.database import FirstChoice, first_choices
from smsgateway import event_loop, ids, logs
from smsgateway.config import Config
from smsgateway.metrics import SMS_ACCEPTED

log = structlog.get_logger(__name__)


class Accepted(NamedTuple):
    """The accepted messages' ids in the order of their drafts, and the balance after the charge.

    `cut_at`: in a partial request only the first so many drafts were accepted. `replayed`: the body of the first
    response if the request had been done before; then there are no ids.
    """

    message_ids: list[UUID]
    balance: int
    cut_at: int | None = None
    replayed: str | None = None


def messages_accept(
    *,
    customer_id: UUID,
    drafts: Sequence[Draft],
    config: Config,
    request_id: str = "",
    claim: Claim | None = None,
    make_body: Callable[[Sequence[UUID]], str] | None = None,
    partial: bool = False,
) -> Accepted:
    """Charge the customer for all drafts and store them for delivery, or change nothing.

    With `partial` the first drafts are accepted, as many as the balance covers. With `claim` a request is charged once:
    a repetition gets the first response, even if both run at the same moment. `make_body` makes the body that is
    recorded for it from the messages' ids.

    Raises CustomerNotFound, CustomerSuspended, InsufficientBalance or IdempotencyKeyReused; RequestInProgress if the
    first request with the key takes too long; django.db.OperationalError if PostgreSQL does not answer, and then either
    all or nothing was done.
    """
    items, total = _items(drafts, first_choice=first_choices(customer_id=customer_id, config=config))
    customer = customer_label(customer_id, limit=config.metrics.customers)
    outcome = charge(
        Charge(
            customer_id=customer_id,
            items=items,
            total=total,
            partial=partial,
            request_id=request_id,
            claim=claim,
            make_body=make_body,
        ),
        lock=config.balance.lock,
    )
    if claim is not None and outcome.record is not None:
        return _replayed(claim, outcome.record)
    balance_before, status, balance, count, _ = outcome
    if balance_before is None:
        raise CustomerNotFound(f"No customer has the id {ids.to_text(customer_id)}.")
    if balance is None:
        if status != "active":
            raise CustomerSuspended("Ask the gateway's operators.")
        raise InsufficientBalance(
            f"The messages cost {total} minor units, the balance is {balance_before}.",
            balance=balance_before,
            cost=total,
        )
    accepted = items[:count]
    if len(accepted) == 1:
        _accepted(accepted[0].operator, customer).inc()
    else:
        for operator, number in Counter([item.operator for item in accepted]).items():
            _accepted(operator, customer).inc(number)
    if logs.at_debug():
        for item in accepted:
            log.debug("accepted", message_id=ids.to_text(item.id), request_id=request_id)
    return Accepted([item.id for item in items], balance, None if count == len(items) else count)


@functools.lru_cache(maxsize=1000)
def _accepted(operator: str, customer: str) -> prometheus_client.Counter:
    return SMS_ACCEPTED.labels(operator, customer)


def messages_replay(*, customer_id: UUID, claim: Claim | None) -> Accepted | None:
    """The first response, if the claimed request was accepted before. Raises IdempotencyKeyReused."""
    record = claim and event_loop.in_thread(functools.partial(record_find, customer_id=customer_id, key=claim.key))
    return _replayed(claim, record) if claim and record else None


def _replayed(claim: Claim, record: Record) -> Accepted:
    if record.fingerprint != claim.fingerprint:
        raise IdempotencyKeyReused("Use a new key for another request.")
    return Accepted([], record.balance, record.cut_at, record.body)


def _items(drafts: Sequence[Draft], *, first_choice: FirstChoice) -> tuple[list[Item], int]:
    """The items to be charged, and what all of them cost."""
    total = 0
    items = []
    for position, (id_, draft) in enumerate(zip(ids.new_ids(len(drafts)), drafts, strict=True), start=1):
        total += draft.cost
        items.append(
            Item(
                position=position,
                id=id_,
                cost_so_far=total,
                operator=first_choice(draft.sender, draft.recipient, id_),
                recipient=draft.recipient,
                sender=draft.sender,
                text=draft.text,
                encoding=draft.encoding,
                segments=draft.segments,
                cost=draft.cost,
                expires_at=draft.expires_at,
                reference=draft.reference,
                send_at=draft.send_at,
                priority=draft.priority,
                callback_url=draft.callback_url,
                metadata=draft.metadata,
            )
        )
    return items, total
