"""Held messages are canceled and refunded once, unless they may be on their way already."""

from __future__ import annotations

import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from confluent_kafka import Producer
from django.conf import settings
from django.db import connections
from rest_framework.test import APIClient

from apps.balance.models import Account, LedgerEntry
from apps.balance.selectors import accounts_off
from apps.sms import events
from apps.sms.models import HeldMessage, OutboxEntry, StatusEntry
from apps.sms.outbox import relay
from apps.sms.settlement.cancel import messages_cancel_waiting, waiting_count
from apps.sms.suspension import held_relay
from apps.sms.suspension.held_relay import HeldRelay
from smsgateway import ids
from smsgateway.kafka import client as kafka
from tests.support.customers import MakeCustomer
from tests.support.held_messages import (
    Post,
    delivered,
    held_by_worker,
    relay_all,
    resume,
    send,
    settle_held,
    suspend,
)


def test_a_held_message_is_canceled_by_its_customer_and_never_sent(
    customer_id: UUID, post: Post, held: HeldRelay, published: list[kafka.Record]
) -> None:
    sent = send(post, customer_id)
    suspend(customer_id)
    relay_all()
    answers = [post(f"/v1/sms/{sent}/cancel", {}) for _ in range(2)]
    assert [answer.json() for answer in answers] == [
        {"id": sent, "status": "canceled", "refunded": 100, "balance": 10_000}
    ] * 2
    resume(customer_id)
    assert held.round() == 0
    assert delivered(published) == []
    kinds = LedgerEntry.objects.filter(customer_id=customer_id).order_by("entry").values_list("kind", flat=True)
    assert list(kinds) == ["topup", "charge", "refund"]


@pytest.mark.parametrize("is_suspended_again", [False, True])
def test_what_may_be_on_kafka_is_not_canceled(
    customer_id: UUID, post: Post, held: HeldRelay, published: list[kafka.Record], monkeypatch: pytest.MonkeyPatch,
    is_suspended_again: bool,
) -> None:  # fmt: skip
    """The relay died, or heard nothing of Kafka, after it had published: the message may be sent at any time."""

    def die(_producer: object, records: Any) -> None:
        published.extend(records)
        raise kafka.KafkaUnavailable("no answer")

    sent = send(post, customer_id)
    suspend(customer_id)
    relay_all()
    resume(customer_id)
    with monkeypatch.context() as dying:
        dying.setattr(kafka, "publish_and_wait", die)
        with pytest.raises(kafka.KafkaUnavailable):
            held.round()
    assert delivered(published) == [sent]
    if is_suspended_again:
        suspend(customer_id)
    answer = post(f"/v1/sms/{sent}/cancel", {})
    assert (answer.status_code, answer.json()["code"]) == (409, "not_cancelable")
    assert messages_cancel_waiting(customer_id=customer_id) == (0, 0)
    assert Account.objects.get(customer_id=customer_id).balance == 9_900
    # The next relay lets it go, whatever its customer is now: a worker holds it if it must.
    assert (held.round(), held.round()) == (1, 0)
    assert delivered(published) == [sent] * 2
    if is_suspended_again:
        assert settle_held(*map(held_by_worker, published[-2:])) == []
        assert held.round() == 0
        assert post(f"/v1/sms/{sent}/cancel", {}).json()["refunded"] == 100
    assert not accounts_off()


def test_all_that_waits_is_canceled_in_batches(
    customer_id: UUID, make_customer: MakeCustomer, post: Post, held: HeldRelay, published: list[kafka.Record]
) -> None:
    other = make_customer()
    later = (dt.datetime.now(tz=dt.UTC) + dt.timedelta(days=1)).isoformat()
    for customer in (customer_id, other):
        for more in ({}, {}, {}, {"send_at": later}, {"send_at": later}):
            send(post, customer, **more)
        suspend(customer)
    relay_all()
    assert waiting_count(customer_id=customer_id) == (3, 2)
    done = [messages_cancel_waiting(customer_id=customer_id, limit=2) for _ in range(4)]
    assert done == [(2, 200), (2, 200), (1, 100), (0, 0)]
    assert (waiting_count(customer_id=customer_id), waiting_count(customer_id=other)) == ((0, 0), (3, 2))
    assert Account.objects.get(customer_id=customer_id).balance == 10_000
    assert not accounts_off()
    published_events = [
        events.decode_status(bytes(row.payload))
        for row in OutboxEntry.objects.filter(customer_id=customer_id, payload__isnull=False)
    ]
    changed = [event for event in published_events if isinstance(event, events.StatusChanged)]
    assert ({event.status for event in changed}, len(changed), len(published_events)) == ({"canceled"}, 5, 10)
    resume(customer_id)
    assert held.round() == 0


@pytest.mark.django_db(transaction=True)
def test_of_cancel_and_resumption_at_the_same_moment_one_wins(
    make_customer: MakeCustomer, post: Post, published: list[kafka.Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    OutboxEntry.objects.all().delete()
    monkeypatch.setattr(held_relay, "BATCH", 3)
    customer_id = make_customer(balance=10_000)
    sent = [send(post, customer_id) for _ in range(40)]
    suspend(customer_id)
    relay_all()
    resume(customer_id)

    def cancel(message_id: str) -> int:
        try:
            return int(APIClient().post(f"/v1/sms/{message_id}/cancel").status_code)
        finally:
            connections.close_all()

    def let_go() -> int:
        try:
            running = HeldRelay(Producer({}), config=settings.CONFIG, shard=relay.WHOLE)
            return sum(running.round() for _ in range(20))
        finally:
            connections.close_all()

    def cancel_all() -> int:
        try:
            return sum(messages_cancel_waiting(customer_id=customer_id, limit=3).messages for _ in range(4))
        finally:
            connections.close_all()

    with ThreadPoolExecutor(6) as threads:
        canceling = [threads.submit(cancel, message_id) for message_id in sent[:20]]
        going, many = threads.submit(let_go), threads.submit(cancel_all)
        codes = [future.result() for future in canceling]
    went = going.result() + HeldRelay(Producer({}), config=settings.CONFIG, shard=relay.WHOLE).round()
    assert set(codes) <= {200, 409}
    canceled = StatusEntry.objects.filter(status="canceled").count()
    left = HeldMessage.objects.filter(is_held=True).count()
    assert canceled + went + left == 40
    assert canceled >= many.result()
    assert set(delivered(published)).isdisjoint(
        ids.to_text(entry.message_id) for entry in StatusEntry.objects.filter(status="canceled")
    )
    assert Account.objects.get(customer_id=customer_id).balance == 10_000 - 100 * (40 - canceled)
    assert not accounts_off()
