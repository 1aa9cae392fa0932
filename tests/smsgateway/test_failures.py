"""What callers are told when something is broken on our side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError
from rest_framework.test import APIClient

from apps.sms.views import sending
from smsgateway import ids
from tests.support.customers import MakeCustomer

Post = Callable[..., Any]


def test_a_database_that_is_away_is_503_and_worth_another_try(
    make_customer: MakeCustomer, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(**_arguments: object) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr(sending, "messages_accept", away)
    body = {"customer_id": ids.to_text(ids.new_id()), "to": "09121234567", "text": "hi"}
    response = post("/v1/sms/send", body)
    assert (response.status_code, response.json()["code"]) == (503, "database_unavailable")
    assert response["Retry-After"] == "1"


def test_an_unexpected_error_is_a_500_problem_with_the_request_id(
    db: None, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(**_arguments: object) -> None:
        raise RuntimeError("a secret detail")

    monkeypatch.setattr(sending, "messages_accept", broken)
    body = {"customer_id": ids.to_text(ids.new_id()), "to": "09121234567", "text": "hi"}
    response = post("/v1/sms/send", body, **{"X-Request-ID": "r-1"})
    assert (response.status_code, response.json()["code"]) == (500, "internal_error")
    assert response.json()["request_id"] == "r-1"
    assert b"secret" not in response.content


def test_health_and_metrics_answer(db: None, api: APIClient) -> None:
    assert api.get("/healthz").json() == {"process": "ok"}
    metrics = api.get("/metrics").content.decode()
    for name in ("sms_accepted_total", "balance_deduction_duration_seconds_bucket", "http_requests_total"):
        assert name in metrics
