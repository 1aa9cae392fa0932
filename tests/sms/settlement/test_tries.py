"""A message that an operator did not take is `queued`: its log says how often it was tried, and the last answer."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace
from rest_framework.test import APIClient

from apps.sms import events
from apps.sms.models import Callback, OutboxEntry, StatusEntry
from apps.sms.recovery.stuck import messages_stuck
from apps.sms.settlement.service import statuses_settle
from smsgateway import ids
from tests.support.callbacks import accept, endpoint_of
from tests.support.customers import MakeCustomer
from tests.support.events import status


@pytest.fixture
def customer(make_customer: MakeCustomer) -> UUID:
    return make_customer()


@pytest.fixture
def message(customer: UUID) -> UUID:
    (message_id,) = accept(customer)
    return message_id


def tried(customer: UUID, message: UUID, attempt: int, error: str) -> events.StatusChanged:
    event = status(customer, message, "queued", after=attempt * 1000, attempt=attempt)
    return replace(event, error=error, operator="mci")


def history(api: APIClient, message: UUID) -> list[dict[str, Any]]:
    answer = api.get(f"/v1/sms/{ids.to_text(message)}").json()
    return list(answer["history"])


def test_the_history_has_the_last_try_and_the_operators_answer(api: APIClient, customer: UUID, message: UUID) -> None:
    statuses_settle(batch=[tried(customer, message, 1, "timeout")])
    statuses_settle(batch=[tried(customer, message, 2, "http_503"), tried(customer, message, 3, "http_500")])
    answer = api.get(f"/v1/sms/{ids.to_text(message)}").json()
    assert answer["status"] == "queued"
    (entry,) = [entry for entry in answer["history"] if entry["status"] == "queued"]
    assert (entry["operator"], entry["error"], entry["attempt"]) == ("mci", "http_500", 3)
    at = dt.datetime.fromisoformat(entry["at"])
    assert at == ids.moment_of(ids.milliseconds(message) + 3000)


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_late_and_repeated_tries_change_nothing(
    api: APIClient, customer: UUID, message: UUID, order: tuple[int, ...]
) -> None:
    made = [tried(customer, message, attempt, f"error_{attempt}") for attempt in (1, 2, 3)]
    made.append(status(customer, message, "submitted", after=9000, attempt=4))
    for number in (*order, *order):
        statuses_settle(batch=[made[number]])
    answer = api.get(f"/v1/sms/{ids.to_text(message)}").json()
    assert answer["status"] == "submitted"
    assert [(entry["status"], entry.get("attempt")) for entry in answer["history"]] == [
        ("accepted", None),
        ("queued", 3),
        ("submitted", 4),
    ]
    assert answer["history"][1]["error"] == "error_3"


def test_a_try_gives_nothing_back_and_calls_nobody(customer: UUID, message: UUID) -> None:
    endpoint_of(customer, "https://shop.example/sms")
    OutboxEntry.objects.all().delete()
    settled = statuses_settle(batch=[tried(customer, message, 1, "timeout")])
    assert (settled.recorded, settled.refunded, settled.unknown) == (1, 0, [])
    assert StatusEntry.objects.get().refund == 0
    assert not OutboxEntry.objects.exists()
    assert not Callback.objects.exists()


def test_a_failure_after_tries_is_refunded(api: APIClient, customer: UUID, message: UUID) -> None:
    made = [tried(customer, message, 1, "timeout"), status(customer, message, "failed", after=5000, attempt=2)]
    assert statuses_settle(batch=made).refunded == 1
    answer = api.get(f"/v1/sms/{ids.to_text(message)}").json()
    assert (answer["status"], answer["refunded"] > 0) == ("failed", True)


def test_a_message_that_was_lost_between_two_tries_is_stuck(customer: UUID, message: UUID) -> None:
    statuses_settle(batch=[tried(customer, message, 1, "timeout")])
    OutboxEntry.objects.all().delete()
    since = dt.datetime.now(tz=dt.UTC) - dt.timedelta(days=1)
    assert [found.message_id for found in messages_stuck(since=since, after=dt.timedelta(0))] == [message]
