"""Operators' delivery receipts over HTTP."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings

from apps.sms import events
from apps.sms.accept.drafts import Draft
from apps.sms.accept.service import messages_accept
from apps.sms.models import OutboxEntry
from smsgateway import config, ids
from tests.support.customers import MakeCustomer
from tests.support.receipts import submit

Post = Callable[..., Any]
TOKEN = {"Authorization": f"Bearer {settings.CONFIG.mci.receipt_token}"}
PATH = "/v1/operators/mci/receipts"


@pytest.fixture
def message_id(make_customer: MakeCustomer) -> UUID:
    draft = Draft("+989121234567", "", "hello", "gsm7", 1, 100, 1_900_000_000_000)
    return messages_accept(customer_id=make_customer(), drafts=[draft], config=settings.CONFIG).message_ids[0]


def receipt(message_id: UUID, **change: object) -> dict[str, object]:
    return {
        "reference": ids.to_text(message_id),
        "messageId": "00042",
        "status": "DELIVRD",
        "error": "000",
        "doneAt": 1_800_000_000_000,
    } | change


def outbox_events(message_id: UUID) -> list[Any]:
    rows = OutboxEntry.objects.filter(message_id=message_id, payload__isnull=False)
    return [events.decode_status(bytes(row.payload)) for row in rows]


def test_a_receipt_is_in_the_outbox_when_it_is_acknowledged(message_id: UUID, post: Post) -> None:
    submit(message_id, "00042")
    response = post(PATH, receipt(message_id), **TOKEN)
    assert response.status_code == 200, response.content
    [event] = outbox_events(message_id)
    assert (event.status, event.operator, event.operator_message_id) == ("delivered", "mci", "00042")


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer \u00e9"}])
def test_a_receipt_without_the_operators_token_is_refused(
    message_id: UUID, post: Post, headers: dict[str, str]
) -> None:
    response = post(PATH, receipt(message_id, status="UNDELIV"), **headers)
    assert (response.status_code, response.json()["code"]) == (401, "unauthorized")
    assert not outbox_events(message_id)


def test_a_receipt_of_a_message_that_never_was_is_404(db: None, post: Post) -> None:
    response = post(PATH, receipt(ids.new_id()), **TOKEN)
    assert (response.status_code, response.json()["code"]) == (404, "message_not_found")


def test_an_unknown_operator_is_404(db: None, post: Post) -> None:
    assert post("/v1/operators/nobody/receipts", {}, **TOKEN).json()["code"] == "operator_not_found"


def test_an_unreadable_receipt_names_its_wrong_fields(message_id: UUID, post: Post) -> None:
    response = post(PATH, receipt(message_id, messageId=42, status="?"), **TOKEN)
    assert (response.status_code, response.json()["code"]) == (400, "invalid_receipt")
    assert {error["field"] for error in response.json()["errors"]} == {"messageId", "status"}
    assert not outbox_events(message_id)


def test_receipts_of_an_operator_that_settings_describe(message_id: UUID, post: Post, settings: Any) -> None:
    loaded, _ = config.load(
        {
            "OPERATORS_HTTP": "rightel",
            "OPERATOR_RIGHTEL_RECEIPT_TOKEN": "long-enough",
            "OPERATOR_RIGHTEL_RECEIPT_REFERENCE": "ref",
        }
    )
    settings.CONFIG = dataclasses.replace(settings.CONFIG, http_operators=loaded.http_operators)
    submit(message_id, "", operator="rightel")
    path, token = "/v1/operators/rightel/receipts", {"Authorization": "Bearer long-enough"}
    body = {"ref": ids.to_text(message_id), "id": "007", "status": "ENROUTE"}
    answer = post(path, body, **token)
    assert (answer.status_code, answer.json()) == (200, {"status": "ignored"})
    assert not outbox_events(message_id)
    assert post(path, body | {"status": "UNDELIV"}, **token).json() == {"status": "recorded"}
    [event] = outbox_events(message_id)
    assert (event.status, event.operator, event.operator_message_id) == ("undelivered", "rightel", "007")
    wrong = post(path, body | {"status": "WHO"}, **token)
    assert (wrong.status_code, wrong.json()["code"]) == (400, "invalid_receipt")
