"""Cancelling a scheduled message: it is not sent, and its cost is given back, in one transaction."""

from __future__ import annotations

import datetime as dt
from typing import NamedTuple

from django.db import transaction

from apps.balance.services import Refund, account_refund, lock_account
from apps.sms import events, statuses
from apps.sms.callbacks.enqueue import callbacks_enqueue
from apps.sms.errors import NotCancelable
from apps.sms.messages.selectors import messages_ended
from apps.sms.models import Message, OutboxEntry, ScheduledEntry, StatusEntry
from apps.sms.suspension.held_messages import held_take
from smsgateway import ids
from smsgateway.metrics import REFUNDED_AMOUNT, REFUNDS, SMS_CANCELED


class Canceled(NamedTuple):
    """What was given back, and the balance now, both in minor units."""

    refunded: int
    balance: int


@transaction.atomic
def message_cancel(*, message: Message) -> Canceled:
    """Cancel it. Done again it changes nothing. Raises NotCancelable if it was not scheduled, or its hour has come, and
    it is not held for its suspended customer either.

    The row of the schedule decides: who deletes it, this or the relay at the message's hour, has the message. So does
    the row of a held message (see `apps.sms.suspension.held_messages`).
    """
    account = lock_account(customer_id=message.customer_id)
    deleted, _ = ScheduledEntry.objects.filter(message_id=message.id).delete()
    if not deleted and not held_take(message_id=message.id):
        before = StatusEntry.objects.filter(message_id=message.id, status=statuses.CANCELED).first()
        if before is None:
            raise NotCancelable(_reason(message))
        return Canceled(before.refund, account.balance)
    if ended := messages_ended(message_ids=[message.id]):
        # Not by us: earlier versions took receipts before the submit. Its refund, if any, was made with that status.
        raise NotCancelable(f"It has ended: {ended[message.id]}.")
    now = dt.datetime.now(tz=dt.UTC)
    entry = StatusEntry.objects.create(
        message_id=message.id,
        status=statuses.CANCELED,
        at=now,
        operator=message.operator,
        operator_message_id="",
        error="",
        attempt=0,
        refund=message.cost,
    )
    callbacks_enqueue(entries=[entry])
    told: list[events.StatusTopicEvent] = [
        events.StatusChanged(
            message_id=ids.to_text(message.id),
            customer_id=ids.to_text(message.customer_id),
            status=statuses.CANCELED,
            at=int(now.timestamp() * 1000),
            operator=message.operator,
            segments=message.segments,
            cost=message.cost,
        )
    ]
    if message.cost:
        refund = Refund(message.id, message.cost)
        account_refund(account=account, refunds=[refund])
        told.append(events.refunded(message.customer_id, refund.message_id, refund.amount))
    OutboxEntry.objects.bulk_create(
        OutboxEntry(customer_id=message.customer_id, message_id=message.id, payload=events.encode(event))
        for event in told
    )
    transaction.on_commit(lambda: _count(message.cost))
    return Canceled(message.cost, account.balance)


def _reason(message: Message) -> str:
    if message.send_at is None:
        return "It was not scheduled (send_at)."
    return "Its hour has come: it is on its way or has ended."


def _count(refund: int) -> None:
    SMS_CANCELED.inc()
    if refund:
        REFUNDS.labels(statuses.CANCELED).inc()
        REFUNDED_AMOUNT.inc(refund)
