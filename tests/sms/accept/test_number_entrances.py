"""A number that was pasted is read the same at every entrance of the API; more in tests/console."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from smsgateway import ids
from tests.support.customers import MakeCustomer

Post = Callable[..., Any]


def read_by_each_entrance(post: Post, api: APIClient, customer_id: Any, written: str) -> list[str]:
    """The number that each entrance made of it."""
    customer = {"customer_id": ids.to_text(customer_id)}
    item = {"to": written, "text": "hi"}
    sent = post("/v1/sms/send", customer | item).json()["to"]
    batch = post("/v1/sms/batch", customer | {"messages": [item]}).json()["results"][0]["to"]
    broadcast = post("/v1/sms/batch", customer | {"to": [written], "text": "hi"}).json()["results"][0]["to"]
    estimate = post("/v1/sms/estimate", customer | {"messages": [item]}).json()["results"][0]["to"]
    listed = api.get("/v1/sms", customer | {"recipient": written}).json()["messages"]
    assert len(listed) == 3
    return [sent, batch, broadcast, estimate, *(found["to"] for found in listed)]


@pytest.mark.parametrize(
    "written",
    [
        "\u200e+989121234567",
        "\u202a+989121234567\u202c",
        "\u2066۰۹۱۲۱۲۳۴۵۶۷\u2069",
        "\u00a009121234567\u00a0",
        "09121234567\n",
        "\ufeff0912\u20111234567",
    ],
)
def test_a_pasted_number_is_read(make_customer: MakeCustomer, post: Post, api: APIClient, written: str) -> None:
    assert set(read_by_each_entrance(post, api, make_customer(), written)) == {"+989121234567"}


def test_an_added_prefix_counts_at_each_entrance(
    make_customer: MakeCustomer, post: Post, api: APIClient, settings: Any
) -> None:
    customer_id = make_customer()
    body = {"customer_id": ids.to_text(customer_id), "to": "09971234567", "text": "hi"}
    assert post("/v1/sms/send", body).json()["errors"][0]["code"] == "invalid_number"
    settings.CONFIG = dataclasses.replace(
        settings.CONFIG, sms=dataclasses.replace(settings.CONFIG.sms, mobile_prefixes=["98997"])
    )
    assert set(read_by_each_entrance(post, api, customer_id, "09971234567")) == {"+989971234567"}
    # Beside another field that is wrong, the number is not named.
    errors = post("/v1/sms/send", body | {"priority": 9}).json()["errors"]
    assert [error["field"] for error in errors] == ["priority"]
