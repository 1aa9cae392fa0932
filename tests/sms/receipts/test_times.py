"""The time of a receipt: operators give whole minutes, other clocks, none. It is between the submit and now."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from rest_framework.test import APIClient

from apps.customers.callback_endpoints import endpoint_set
from apps.sms import events
from apps.sms.models import Callback, OutboxEntry, StatusEntry, WaitingReceipt
from apps.sms.settlement.service import statuses_settle
from smsgateway import config, ids
from tests.support.customers import MakeCustomer
from tests.support.receipts import accept, changed, now, receive, said, settle_outbox, submit

Post = Callable[..., Any]
MINUTE = 60_000


@pytest.fixture
def customer_id(make_customer: MakeCustomer) -> UUID:
    return make_customer(balance=1000)


def at_of(message_id: UUID, status: str) -> int:
    return round(StatusEntry.objects.get(message_id=message_id, status=status).at.timestamp() * 1000)


@pytest.mark.parametrize("at", [1, 10**9, 1_000_000_000_000, -MINUTE])
@pytest.mark.parametrize("status", ["delivered", "undelivered", "expired", "rejected"])
@pytest.mark.parametrize("by_reference", [True, False])
def test_a_time_before_the_submit_is_that_of_the_submit(
    customer_id: UUID, at: int, status: str, by_reference: bool
) -> None:
    [message_id] = accept(customer_id)
    submitted_at = now()
    submit(message_id, "5", at=submitted_at)
    reference = message_id if by_reference else None
    receive(said("5", status, at=at if at > 0 else submitted_at + at, reference=reference))
    assert at_of(message_id, status) == submitted_at


def test_a_time_in_between_is_kept(customer_id: UUID) -> None:
    [message_id] = accept(customer_id)
    submit(message_id, "5", at=now() - MINUTE)
    at = now() - MINUTE // 2
    receive(said("5", at=at))
    assert at_of(message_id, "delivered") == at


@pytest.mark.parametrize("ahead", [MINUTE, 10**12])
@pytest.mark.parametrize("early", [True, False])
def test_a_time_ahead_is_that_of_its_arrival(customer_id: UUID, ahead: int, early: bool) -> None:
    [message_id] = accept(customer_id)
    submitted_at = now() - MINUTE
    if not early:
        submit(message_id, "5", at=submitted_at)
    before = now()
    receive(said("5", at=before + ahead))
    after = now()
    if early:
        [row] = WaitingReceipt.objects.all()
        assert before <= row.at <= after
        submit(message_id, "5", at=submitted_at)
        settle_outbox()
    assert before <= at_of(message_id, "delivered") <= after


def test_what_the_statistics_get_is_the_same(customer_id: UUID, post: Post) -> None:
    [message_id] = accept(customer_id)
    submitted_at = now()
    submit(message_id, "5", at=submitted_at)
    body = {"reference": ids.to_text(message_id), "messageId": "5", "status": "DELIVRD", "doneAt": 1_700_000_000_000}
    assert post("/v1/operators/mci/receipts", body, Authorization="Bearer development-only").status_code == 200
    [row] = OutboxEntry.objects.filter(message_id=message_id, payload__isnull=False)
    event = events.decode_status(bytes(row.payload or b""))
    assert event.at == submitted_at


def test_the_customers_callback_has_the_same_time(customer_id: UUID) -> None:
    endpoint_set(customer_id=customer_id, url="https://example.com/", statuses=["delivered"], enabled=True)
    [message_id] = accept(customer_id)
    submitted_at = now()
    submit(message_id, "5", at=submitted_at)
    receive(said("5", at=submitted_at - MINUTE))
    [callback] = Callback.objects.filter(message_id=message_id)
    assert round(callback.at.timestamp() * 1000) == submitted_at


def test_an_event_of_an_earlier_version_is_clamped_where_it_is_stored(customer_id: UUID) -> None:
    first, second = accept(customer_id, 2)
    submitted_at = now() - 5 * MINUTE
    together = [changed(first, "submitted", "1", at=submitted_at), changed(first, "delivered", at=submitted_at - 1)]
    statuses_settle(batch=together)
    submit(second, "2", at=submitted_at)
    statuses_settle(batch=[changed(second, "undelivered", at=submitted_at - 1)])
    assert (at_of(first, "delivered"), at_of(second, "undelivered")) == (submitted_at, submitted_at)


def test_what_earlier_versions_stored_is_shown_in_order(customer_id: UUID, api: APIClient) -> None:
    [message_id] = accept(customer_id)
    submit(message_id, "5")
    receive(said("5"))
    early = dt.datetime.now(tz=dt.UTC) - dt.timedelta(hours=1)
    StatusEntry.objects.filter(message_id=message_id, status="delivered").update(at=early)
    history = api.get(f"/v1/sms/{ids.to_text(message_id)}").json()["history"]
    times = [dt.datetime.fromisoformat(entry["at"]) for entry in history]
    assert [entry["status"] for entry in history] == ["accepted", "submitted", "delivered"]
    assert times[1] == times[2]


WITH_TIME = {
    "OPERATORS_HTTP": "rightel",
    "OPERATOR_RIGHTEL_RECEIPT_TOKEN": "long-enough",
    "OPERATOR_RIGHTEL_RECEIPT_TIME": "at",
}


@pytest.mark.parametrize(
    ("form", "given"),
    [
        ("iso", "0001-01-01T00:00:00Z"),
        ("iso", "0000-00-00 00:00:00"),
        ("iso", "1970-01-01T00:00:00+00:00"),
        ("iso", "9999-12-31T23:59:59Z"),
        ("iso", "2026-01-01T12:00+03:30"),
        ("unix", "0"),
        ("unix", 0),
        ("unix", 1_700_000_000.5),
        ("unix", 1_700_000_000_000),
        ("unix-milliseconds", 1_700_000_000),
        ("unix-milliseconds", -1),
        ("unix-milliseconds", 10**17),
    ],
)
def test_a_receipt_is_not_lost_for_its_time(
    customer_id: UUID, post: Post, settings: Any, form: str, given: object
) -> None:
    loaded, _ = config.load(WITH_TIME | {"OPERATOR_RIGHTEL_RECEIPT_TIME_FORMAT": form})
    settings.CONFIG = dataclasses.replace(settings.CONFIG, http_operators=loaded.http_operators)
    [message_id] = accept(customer_id)
    submitted_at = now()
    submit(message_id, "5", operator="rightel", at=submitted_at)
    body = {"id": "5", "status": "DELIVRD", "at": given}
    answer = post("/v1/operators/rightel/receipts", body, Authorization="Bearer long-enough")
    assert answer.status_code == 200, answer.content
    settle_outbox()
    assert submitted_at <= at_of(message_id, "delivered") <= now()


@pytest.mark.parametrize("done_at", [0, 1, 1_767_225_600, 10**17])
def test_a_receipt_of_an_operator_with_a_package_is_not_lost_for_its_time(
    customer_id: UUID, post: Post, done_at: int
) -> None:
    [message_id] = accept(customer_id)
    submitted_at = now()
    submit(message_id, "5", at=submitted_at)
    body = {"reference": ids.to_text(message_id), "messageId": "5", "status": "DELIVRD", "doneAt": done_at}
    assert post("/v1/operators/mci/receipts", body, Authorization="Bearer development-only").status_code == 200
    settle_outbox()
    assert submitted_at <= at_of(message_id, "delivered") <= now()
