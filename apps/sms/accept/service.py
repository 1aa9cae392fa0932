"""Accepting messages: one statement charges the account and writes ledger, messages and outbox, or nothing at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

import structlog

from apps.balance.errors import InsufficientBalance
from apps.customers.errors import CustomerNotFound, CustomerSuspended
from apps.sms.accept.charge_statement import Charge, Item, Once, Recorded, charge
from apps.sms.accept.drafts import Draft
from apps.sms.accept.metric_labels import customer_label
from apps.sms.errors import IdempotencyKeyReused
from apps.sms.routing.database import FirstChoice, first_choices
from smsgateway import ids, logs
from smsgateway.config import Config
from smsgateway.metrics import SMS_ACCEPTED

log = structlog.get_logger(__name__)


class Accepted(NamedTuple):
    """What was accepted: the messages' ids in the order of their drafts, and the balance after the charge.

    `cut_at`: of a partial request only so many drafts were accepted, from the first. `replayed` is the body of the
    first answer if the request had been done before; then there are no ids.
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
    customer = customer_label(customer_id, limit=config.metrics.customers)
    one = Charge(customer_id, items, total, partial, request_id, once)
    outcome = charge(one, lock=config.balance.lock)
    if once is not None and outcome.recorded is not None:
        return _replay(once, outcome.recorded)
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
    for operator, number in Counter([item.operator for item in accepted]).items():
        SMS_ACCEPTED.labels(operator, customer).inc(number)
    if logs.at_debug():
        for item in accepted:
            log.debug("accepted", message_id=ids.to_text(item.id), request_id=request_id)
    return Accepted([item.id for item in items], balance, None if count == len(items) else count)


def _replay(once: Once, done: Recorded) -> Accepted:
    if done.fingerprint != once.fingerprint:
        raise IdempotencyKeyReused("Use a new key for another request.")
    return Accepted([], done.balance, done.cut_at, done.body)


def _items(drafts: Sequence[Draft], *, first_choice: FirstChoice) -> tuple[list[Item], int]:
    total = 0
    items = []
    for position, (id_, draft) in enumerate(zip(ids.new_ids(len(drafts)), drafts, strict=True), start=1):
        total += draft.cost
        items.append(
            Item(
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
