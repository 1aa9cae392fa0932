"""`send_at`: charged at once, sent when due, canceled before."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from confluent_kafka import Producer
from django.conf import settings
from django.db import connection, connections
from prometheus_client import REGISTRY
from rest_framework.test import APIClient

from apps.balance.models import Account, LedgerEntry
from apps.balance.selectors import accounts_off
from apps.sms import events
from apps.sms.models import Message, OutboxEntry, ScheduledEntry, StatusEntry
from apps.sms.outbox import relay
from apps.sms.settlement.service import statuses_settle
from smsgateway import ids
from smsgateway.kafka import client as kafka
from smsgateway.metrics import OUTBOX_OLDEST
from tests.support.customers import MakeCustomer

Post = Callable[..., Any]


def schedule(post: Post, customer_id: Any, **headers: str) -> dict[str, Any]:
    send_at = dt.datetime.now(tz=dt.UTC) + dt.timedelta(days=2)
    body = {
        "customer_id": ids.to_text(customer_id),
        "to": "09121234567",
        "text": "later",
        "send_at": send_at.isoformat(),
        "valid_for": 60,
    }
    response = post("/v1/sms/send", body, **headers)
    assert response.status_code == 200, response.content
    return dict(response.json())


def let_its_hour_come() -> None:
    ScheduledEntry.objects.update(send_at=dt.datetime.now(tz=dt.UTC) - dt.timedelta(hours=1))


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[kafka.Record]:
    """What the relay publishes, in order."""
    found: list[kafka.Record] = []
    monkeypatch.setattr(kafka, "publish_and_wait", lambda _producer, records, **_: found.extend(records))
    return found


def relay_all() -> None:
    while relay.relay_round(producer=Producer({}), config=settings.CONFIG):
        pass


def test_a_scheduled_message_is_charged_now_and_delivered_when_due(
    make_customer: MakeCustomer, post: Post, api: APIClient, published: list[kafka.Record]
) -> None:
    OutboxEntry.objects.all().delete()
    customer_id = make_customer(balance=1000)
    sent = schedule(post, customer_id, **{"X-Request-ID": "req-7"})
    assert (sent["status"], sent["balance"]) == ("scheduled", 900)
    message = api.get(f"/v1/sms/{sent['id']}").json()
    assert (message["status"], message["send_at"]) == ("scheduled", sent["send_at"])

    relay_all()
    assert relay.release_due() == 0
    assert [record.topic for record in published] == [settings.CONFIG.kafka.topic_accepted]
    let_its_hour_come()
    assert relay.release_due() == 1
    assert relay.release_due() == 0
    OUTBOX_OLDEST.set(99)
    assert relay.relay_round(producer=Producer({}), config=settings.CONFIG) == 1
    assert REGISTRY.get_sample_value("outbox_oldest_age_seconds") == 0, "its hour, not its age, is what counts"
    assert [record.topic for record in published[1:]] == [settings.CONFIG.kafka.topic_delivery]
    delivery = events.decode_delivery(published[1].value)
    message = Message.objects.get(id=ids.from_text(sent["id"]))
    assert delivery.message_id == sent["id"]
    assert delivery.request_id == "req-7"
    assert message.send_at is not None
    assert delivery.expires_at == int((message.send_at + dt.timedelta(seconds=60)).timestamp() * 1000)


def test_a_canceled_message_is_refunded_once_and_never_sent(
    make_customer: MakeCustomer, post: Post, api: APIClient, published: list[kafka.Record]
) -> None:
    OutboxEntry.objects.all().delete()
    customer_id = make_customer(balance=1000)
    sent = schedule(post, customer_id)
    answers = [post(f"/v1/sms/{sent['id']}/cancel", {}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == {"id": sent["id"], "status": "canceled", "refunded": 100, "balance": 1000}
    assert answers[1].json() == answers[0].json()
    message = api.get(f"/v1/sms/{sent['id']}").json()
    assert (message["status"], message["refunded"]) == ("canceled", 100)
    kinds = LedgerEntry.objects.filter(customer_id=customer_id).order_by("entry").values_list("kind", flat=True)
    assert list(kinds) == ["topup", "charge", "refund"]
    assert not accounts_off()

    let_its_hour_come()
    assert relay.release_due() == 0
    relay_all()
    assert settings.CONFIG.kafka.topic_delivery not in {record.topic for record in published}
    status_events = [
        events.decode_status(record.value) for record in published if record.topic == settings.CONFIG.kafka.topic_status
    ]
    assert [type(event).__name__ for event in status_events] == ["StatusChanged", "Refunded"]
    canceled = status_events[0]
    assert isinstance(canceled, events.StatusChanged)
    settled = statuses_settle(batch=[canceled])
    assert (settled.recorded, settled.repeated, settled.refunded) == (0, 1, 0)


def test_what_was_not_scheduled_or_is_on_its_way_cannot_be_canceled(make_customer: MakeCustomer, post: Post) -> None:
    customer_id = make_customer(balance=1000)
    at_once = post("/v1/sms/send", {"customer_id": ids.to_text(customer_id), "to": "09121234567", "text": "x"}).json()
    late = schedule(post, customer_id)
    let_its_hour_come()
    relay.release_due()
    for sent in (at_once, late):
        response = post(f"/v1/sms/{sent['id']}/cancel", {})
        assert (response.status_code, response.json()["code"]) == (409, "not_cancelable")
    unknown = post(f"/v1/sms/{ids.to_text(ids.new_id())}/cancel", {})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "message_not_found")
    assert Account.objects.get(customer_id=customer_id).balance == 800


@pytest.mark.django_db(transaction=True)
def test_of_cancel_and_release_at_the_same_moment_one_wins(make_customer: MakeCustomer, post: Post) -> None:
    customer_id = make_customer(balance=10_000)
    sent = [schedule(post, customer_id)["id"] for _ in range(40)]
    OutboxEntry.objects.all().delete()
    let_its_hour_come()

    def cancel(message_id: str) -> int:
        try:
            return int(APIClient().post(f"/v1/sms/{message_id}/cancel").status_code)
        finally:
            connections.close_all()

    def release() -> int:
        try:
            return sum(relay.release_due() for _ in range(20))
        finally:
            connections.close_all()

    with ThreadPoolExecutor(5) as threads:
        canceling = [threads.submit(cancel, message_id) for message_id in sent]
        releasing = threads.submit(release)
        statuses = [future.result() for future in canceling]
    released = releasing.result() + relay.release_due()
    assert set(statuses) <= {200, 409}
    assert statuses.count(200) + released == 40
    assert StatusEntry.objects.filter(status="canceled").count() == statuses.count(200)
    assert OutboxEntry.objects.filter(due=True).count() == released
    assert Account.objects.get(customer_id=customer_id).balance == 10_000 - 100 * released
    assert not accounts_off()


def test_the_first_response_is_repeated_after_send_at_has_passed(make_customer: MakeCustomer, post: Post) -> None:
    customer_id = make_customer(balance=1000)
    soon = dt.datetime.now(tz=dt.UTC) + dt.timedelta(seconds=2)
    body = {"customer_id": ids.to_text(customer_id), "to": "09121234567", "text": "x", "send_at": soon.isoformat()}
    first = post("/v1/sms/send", body, **{"Idempotency-Key": "k"})
    assert first.status_code == 200
    while dt.datetime.now(tz=dt.UTC) < soon:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(0.02)")
    again = post("/v1/sms/send", body, **{"Idempotency-Key": "k"})
    assert (again.status_code, again.content) == (200, first.content)
    assert post("/v1/sms/send", body, **{"Idempotency-Key": "other"}).status_code == 400
    batch = {"customer_id": ids.to_text(customer_id), "to": ["09121234567"], "text": "x", "send_at": soon.isoformat()}
    assert post("/v1/sms/batch", batch).json()["refused"] == 1
