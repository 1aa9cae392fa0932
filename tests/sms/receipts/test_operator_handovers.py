"""A receipt with our reference changes a message only if its operator got that message."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any, cast
from uuid import UUID

import pytest
from confluent_kafka import Message as KafkaMessage
from confluent_kafka import Producer
from django.conf import settings
from rest_framework.test import APIClient

from apps.balance.selectors import accounts_off
from apps.sms import events
from apps.sms.models import OutboxEntry, ScheduledEntry, StatusEntry, SubmittedPart, WaitingReceipt
from apps.sms.outbox import relay
from apps.sms.receipts import matching as receipts
from apps.sms.receipts.missing import receipts_drop
from apps.sms.settlement import process as settling
from apps.sms.settlement.service import statuses_settle
from smsgateway import ids
from smsgateway.kafka import client as kafka
from tests.support.customers import MakeCustomer
from tests.support.receipts import accept, balance, changed, receive, said, settle_outbox, status_of, submit

Post = Callable[..., Any]


@pytest.fixture
def customer_id(make_customer: MakeCustomer) -> UUID:
    return make_customer(balance=1000)


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[kafka.Record]:
    """What the relay publishes, in order."""
    found: list[kafka.Record] = []
    monkeypatch.setattr(kafka, "publish_and_wait", lambda _producer, records, **_: found.extend(records))
    return found


def receipt_over_http(post: Post, operator: str, message_id: UUID, status: str) -> int:
    reference, token = ids.to_text(message_id), getattr(settings.CONFIG, operator).receipt_token
    body = {
        "mci": {"reference": reference, "messageId": "9", "status": status, "doneAt": 1_700_000_000_000},
        "irancell": {"clientRef": reference, "id": "9", "state": 2 if status == "DELIVRD" else 5, "ts": 1_700_000_000},
    }[operator]
    answer = post(f"/v1/operators/{operator}/receipts", body, Authorization=f"Bearer {token}")
    settle_outbox()
    return int(answer.status_code)


def schedule(post: Post, customer_id: UUID) -> UUID:
    body = {
        "customer_id": ids.to_text(customer_id),
        "to": "09121234567",
        "text": "later",
        "send_at": (dt.datetime.now(tz=dt.UTC) + dt.timedelta(days=2)).isoformat(),
    }
    return ids.from_text(post("/v1/sms/send", body).json()["id"])


def relay_when_due() -> None:
    ScheduledEntry.objects.update(send_at=dt.datetime.now(tz=dt.UTC) - dt.timedelta(hours=1))
    relay.release_due()
    while relay.relay_round(producer=Producer({}), config=settings.CONFIG):
        pass


def deliveries(published: list[kafka.Record]) -> list[str]:
    lanes = settings.CONFIG.kafka.delivery_lanes.values()
    return [events.decode_delivery(record.value).message_id for record in published if record.topic in lanes]


@pytest.mark.parametrize("operator", ["mci", "irancell"])
@pytest.mark.parametrize("status", ["UNDELIV", "DELIVRD"])
def test_no_receipt_changes_a_message_that_is_still_scheduled(
    customer_id: UUID, post: Post, published: list[kafka.Record], operator: str, status: str
) -> None:
    message_id = schedule(post, customer_id)
    assert receipt_over_http(post, operator, message_id, status) == 200
    assert not StatusEntry.objects.filter(message_id=message_id).exists()
    assert balance(customer_id) == 900
    answer = post(f"/v1/sms/{ids.to_text(message_id)}/cancel", {})
    assert (answer.status_code, answer.json()["refunded"]) == (200, 100)
    relay_when_due()
    assert deliveries(published) == []
    assert not accounts_off()


@pytest.mark.parametrize("receipt_is_first", [True, False])
def test_a_receipt_does_not_end_a_message_that_is_tried_again(
    customer_id: UUID, post: Post, receipt_is_first: bool
) -> None:
    """Its try timed out. Ended and refunded now, it would still be sent by the next try."""
    [message_id] = accept(customer_id)
    steps = [
        lambda: receipt_over_http(post, "mci", message_id, "UNDELIV"),
        lambda: statuses_settle(batch=[changed(message_id, "queued", attempt=1, error="timeout")]),
    ]
    for step in steps if receipt_is_first else reversed(steps):
        step()
    settle_outbox()
    assert (status_of(message_id), balance(customer_id)) == ("queued", 900)
    submit(message_id, "9", attempt=2)  # the same operator takes it now
    settle_outbox()
    assert (status_of(message_id), balance(customer_id)) == ("undelivered", 1000)


def test_another_operators_receipt_changes_nothing(customer_id: UUID, post: Post) -> None:
    [message_id] = accept(customer_id)
    submit(message_id, "5")
    assert receipt_over_http(post, "irancell", message_id, "UNDELIV") == 200
    assert (status_of(message_id), balance(customer_id)) == ("submitted", 900)
    assert receipt_over_http(post, "mci", message_id, "DELIVRD") == 200
    assert (status_of(message_id), balance(customer_id)) == ("delivered", 900)


@pytest.mark.parametrize("given", ["9", "other", ""])
def test_an_early_receipt_by_our_reference_waits_for_its_submit(customer_id: UUID, post: Post, given: str) -> None:
    [message_id] = accept(customer_id)
    receipt_over_http(post, "mci", message_id, "UNDELIV")
    assert (status_of(message_id), balance(customer_id)) == ("accepted", 900)
    submit(message_id, "5", operator="irancell")
    settle_outbox()
    assert status_of(message_id) == "submitted"
    submit(message_id, given)  # a worker was killed, and the next one took another route
    settle_outbox()
    assert (status_of(message_id), balance(customer_id)) == ("undelivered", 1000)
    assert not WaitingReceipt.objects.exists()


@pytest.mark.parametrize("given", ["5", ""])
def test_a_receipt_of_an_operator_that_got_it_second_counts(customer_id: UUID, given: str) -> None:
    [message_id] = accept(customer_id)
    submit(message_id, "1", operator="irancell")
    submit(message_id, given)
    submit(message_id, given)
    assert receive(said("another", reference=message_id)) == ["matched"]
    assert status_of(message_id) == "delivered"


def test_a_message_whose_answer_had_no_id_is_found_by_its_reference_alone(customer_id: UUID) -> None:
    first, second = accept(customer_id, 2)
    for message_id in (first, second):
        for _ in range(2):
            submit(message_id, "")
    assert SubmittedPart.objects.count() == 2
    assert receive(said("", reference=second, status="undelivered"), said("x")) == ["matched", "waiting"]
    assert (status_of(first), status_of(second)) == ("submitted", "undelivered")


@pytest.mark.parametrize(("status", "expected"), [("failed", "delivered"), ("rejected", "rejected")])
def test_a_message_that_an_operator_may_have_although_it_failed_is_its_own(
    customer_id: UUID, status: str, expected: str
) -> None:
    """Its last try timed out; what was refused, it never had."""
    [message_id] = accept(customer_id)
    assert receive(said("", reference=message_id)) == ["waiting"]
    statuses_settle(batch=[changed(message_id, status, attempt=9, error="timeout")])
    settle_outbox()
    assert (status_of(message_id), balance(customer_id)) == (expected, 1000)


def test_a_receipt_over_an_operators_own_connection_is_bound_to_it_too(customer_id: UUID) -> None:
    [message_id] = accept(customer_id)

    def come(operator: str, status: str) -> None:
        event = events.ReceiptReceived(
            operator=operator,
            operator_message_id="5",
            reference=ids.to_text(message_id),
            status=status,
            at=1_700_000_000_000,
        )

        class Read:
            def value(self) -> bytes:
                return events.encode(event)

        assert settling.write([cast(KafkaMessage, Read())]) == []
        settle_outbox()

    come("irancell", "undelivered")
    come("mci", "delivered")
    assert status_of(message_id) == "accepted"
    submit(message_id, "7")
    settle_outbox()
    assert (status_of(message_id), balance(customer_id)) == ("delivered", 900)
    assert [row.operator for row in WaitingReceipt.objects.all()] == ["irancell"]


def test_a_submit_recorded_while_a_receipt_by_reference_is_stored_is_seen(
    customer_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The submit commits after the receipt looked for it, and looks for receipts before this one is there."""
    [message_id] = accept(customer_id)
    store = receipts._record

    def record(batch: Any) -> Any:
        done = store(batch)
        if not StatusEntry.objects.filter(message_id=message_id).exists():
            with monkeypatch.context() as blind:
                blind.setattr("apps.sms.settlement.service.receipts_match_waiting", lambda **_: 0)
                submit(message_id, "5")
        return done

    monkeypatch.setattr(receipts, "_record", record)
    receive(said("5", reference=message_id))
    assert status_of(message_id) == "delivered"
    assert not WaitingReceipt.objects.exists()


def test_a_receipt_whose_submit_an_earlier_version_recorded_is_matched_before_it_would_be_dropped(
    customer_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    [message_id] = accept(customer_id)
    receive(said("", reference=message_id), said("", reference=message_id, operator="irancell"))
    with monkeypatch.context() as earlier:
        earlier.setattr("apps.sms.settlement.service.receipts_match_waiting", lambda **_: 0)
        submit(message_id, "5")
    assert receipts_drop(wait=dt.timedelta(seconds=-1)) == 1
    settle_outbox()
    assert status_of(message_id) == "delivered"


def ended_while_scheduled(post: Post, customer_id: UUID) -> UUID:
    """As a receipt made it in the versions before: refunded, and still scheduled."""
    message_id = schedule(post, customer_id)
    statuses_settle(batch=[changed(message_id, "undelivered", customer_id=ids.to_text(customer_id))])
    assert balance(customer_id) == 1000
    return message_id


def test_a_message_that_ended_is_not_sent_when_it_is_due(
    customer_id: UUID, post: Post, published: list[kafka.Record]
) -> None:
    OutboxEntry.objects.all().delete()
    ended = ended_while_scheduled(post, customer_id)
    waiting = schedule(post, customer_id)
    [at_once] = accept(customer_id)
    statuses_settle(batch=[changed(at_once, "expired")])
    relay_when_due()
    assert deliveries(published) == [ids.to_text(waiting)]
    accepted = [record for record in published if record.topic == settings.CONFIG.kafka.topic_accepted]
    assert len(accepted) == 3, "the statistics hear of each"
    assert not OutboxEntry.objects.filter(message_id=ended).exists()


def test_canceling_a_message_that_ended_is_a_conflict_and_refunds_nothing(
    customer_id: UUID, post: Post, api: APIClient
) -> None:
    message_id = ended_while_scheduled(post, customer_id)
    for _ in range(2):
        answer = post(f"/v1/sms/{ids.to_text(message_id)}/cancel", {})
        assert (answer.status_code, answer.json()["code"]) == (409, "not_cancelable")
    assert api.get(f"/v1/sms/{ids.to_text(message_id)}").json()["status"] == "undelivered"
    assert balance(customer_id) == 1000
    assert not accounts_off()
