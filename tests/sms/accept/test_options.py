"""What a message may ask for beside recipient and text."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from apps.sms.models import Message
from smsgateway import ids
from tests.support.customers import MakeCustomer

Post = Callable[..., Any]
NOW = dt.datetime.now(tz=dt.UTC)
HOUR = dt.timedelta(hours=1)


def send(post: Post, customer_id: Any, **wishes: Any) -> Any:
    body = {"customer_id": ids.to_text(customer_id), "to": "09121234567", "text": "hi"} | wishes
    return post("/v1/sms/send", body)


def test_all_that_is_asked_for_is_kept_and_told(make_customer: MakeCustomer, post: Post, api: APIClient) -> None:
    wishes = {
        "priority": "otp",
        "valid_for": 300,
        "callback_url": "https://shop.example/sms?order=7",
        "metadata": {"campaign": "9", "نام": "نوروز"},
        "reference": "r",
        "from": "Shop",
    }
    sent = send(post, make_customer(), **wishes).json()
    told = api.get(f"/v1/sms/{sent['id']}").json()
    for name in ("priority", "callback_url", "metadata", "reference", "from"):
        assert told[name] == wishes[name]
    message = Message.objects.get(id=ids.from_text(sent["id"]))
    assert (message.expires_at - ids.moment(message.id)).total_seconds() == pytest.approx(300, abs=1)


@pytest.mark.parametrize(
    ("wishes", "encoding", "segments", "text"),
    [
        ({"text": "plain", "encoding": "ucs2"}, "ucs2", 1, "plain"),
        ({"text": "x" * 71, "encoding": "ucs2"}, "ucs2", 2, "x" * 71),
        ({"text": "plain", "encoding": "gsm7"}, "gsm7", 1, "plain"),
        ({"text": "“it’s” – ok…", "transliterate": True}, "gsm7", 1, '"it\'s" - ok...'),
        ({"text": "“it’s” – ok…", "transliterate": False}, "ucs2", 1, "“it’s” – ok…"),
        ({"text": "a\u00a0b", "transliterate": True, "encoding": "gsm7"}, "gsm7", 1, "a b"),
        # Where plain quotes would not bring GSM-7, the text stays as it was written.
        ({"text": "«سلام»", "transliterate": True}, "ucs2", 1, "«سلام»"),
    ],
)
def test_the_encoding_is_as_wished(
    make_customer: MakeCustomer, post: Post, wishes: dict[str, Any], encoding: str, segments: int, text: str
) -> None:
    sent = send(post, make_customer(), **wishes).json()
    assert (sent["encoding"], sent["segments"]) == (encoding, segments)
    assert Message.objects.get(id=ids.from_text(sent["id"])).text == text


def test_a_message_within_its_most_segments_is_taken(make_customer: MakeCustomer, post: Post) -> None:
    assert send(post, make_customer(), text="x" * 306, max_segments=2).json()["segments"] == 2


@pytest.mark.parametrize(("text", "segments"), [("x" * 39_015, 255), ("س" * 17_085, 255), ("س" * 17_086, None)])
def test_a_text_has_255_parts_at_most(
    make_customer: MakeCustomer, post: Post, settings: Any, text: str, segments: int | None
) -> None:
    settings.CONFIG = dataclasses.replace(
        settings.CONFIG, sms=dataclasses.replace(settings.CONFIG.sms, max_length=39_015)
    )
    answer = send(post, make_customer(), text=text).json()
    if segments is None:
        assert answer["errors"][0]["code"] == "too_many_segments"
    else:
        assert answer["segments"] == segments


@pytest.mark.parametrize(
    ("wishes", "field", "code"),
    [
        ({"text": "س", "encoding": "gsm7"}, "text", "not_gsm7"),
        ({"text": "x" * 307, "max_segments": 2}, "text", "too_many_segments"),
        ({"max_segments": 0}, "max_segments", "out_of_range"),
        ({"max_segments": 256}, "max_segments", "out_of_range"),
        ({"max_segments": True}, "max_segments", "wrong_type"),
        ({"valid_for": 0}, "valid_for", "out_of_range"),
        ({"valid_for": 10**30}, "valid_for", "out_of_range"),
        ({"valid_for": "60"}, "valid_for", "wrong_type"),
        ({"priority": "urgent"}, "priority", "invalid_value"),
        ({"encoding": "utf8"}, "encoding", "invalid_value"),
        ({"transliterate": "yes"}, "transliterate", "wrong_type"),
        ({"send_at": "tomorrow"}, "send_at", "invalid_time"),
        ({"send_at": "2030-01-31T08:00:00"}, "send_at", "invalid_time"),
        ({"send_at": None}, "send_at", "wrong_type"),
        ({"send_at": (NOW - HOUR).isoformat()}, "send_at", "out_of_range"),
        ({"send_at": (NOW + 24 * 31 * HOUR).isoformat()}, "send_at", "out_of_range"),
        ({"callback_url": "ftp://shop.example/"}, "callback_url", "invalid_url"),
        ({"callback_url": "https://"}, "callback_url", "invalid_url"),
        ({"callback_url": "https://[half/"}, "callback_url", "invalid_url"),
        ({"callback_url": "https://shop.example/ a"}, "callback_url", "invalid_url"),
        ({"callback_url": "https://shop.example/" + "a" * 2048}, "callback_url", "too_long"),
        ({"metadata": {"n": 5}}, "metadata", "wrong_type"),
        ({"metadata": {str(n): "" for n in range(21)}}, "metadata", "too_long"),
        ({"metadata": {"k" * 41: ""}}, "metadata", "too_long"),
        ({"metadata": {"k": "v" * 501}}, "metadata", "too_long"),
        ({"metadata": {"": "v"}}, "metadata", "empty"),
        ({"metadata": {"k": "\x00"}}, "metadata", "invalid_characters"),
    ],
)
def test_a_wish_that_cannot_be_met_is_named(
    make_customer: MakeCustomer, post: Post, wishes: dict[str, Any], field: str, code: str
) -> None:
    customer_id = make_customer()
    response = send(post, customer_id, **wishes)
    assert response.status_code == 400, response.content
    assert [(error["field"], error["code"]) for error in response.json()["errors"]] == [(field, code)]
    assert not Message.objects.filter(customer_id=customer_id).exists()


def test_one_text_goes_to_many(make_customer: MakeCustomer, post: Post) -> None:
    customer_id = make_customer(balance=1000)
    body = {
        "customer_id": ids.to_text(customer_id),
        "to": ["09121234567", "021", "+989351234567", 9],
        "text": "Sale!",
        "from": "Shop",
        "priority": "bulk",
    }
    answer = post("/v1/sms/batch", body).json()
    assert (answer["accepted"], answer["refused"], answer["balance"]) == (2, 2, 800)
    assert [result["status"] for result in answer["results"]] == ["accepted", "refused", "accepted", "refused"]
    assert [error["code"] for error in answer["results"][3]["errors"]] == ["wrong_type"]
    stored = Message.objects.filter(customer_id=customer_id).order_by("id")
    assert [(found.recipient, found.text, found.sender, found.priority) for found in stored] == [
        ("+989121234567", "Sale!", "Shop", "bulk"),
        ("+989351234567", "Sale!", "Shop", "bulk"),
    ]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"to": []}, {("to", "invalid_length")}),
        ({"to": "09121234567"}, {("to", "wrong_type")}),
        ({"text": 5, "priority": "x"}, {("text", "wrong_type"), ("priority", "invalid_value")}),
        ({"messages": []}, {("to", "unknown_field"), ("text", "unknown_field")}),
        ({"on_insufficient_balance": "maybe"}, {("on_insufficient_balance", "invalid_value")}),
    ],
)
def test_a_broadcast_that_is_wrong_as_a_whole_is_told_so(
    make_customer: MakeCustomer, post: Post, change: dict[str, Any], expected: set[tuple[str, str]]
) -> None:
    body = {"customer_id": ids.to_text(make_customer()), "to": ["09121234567"], "text": "x"} | change
    response = post("/v1/sms/batch", body)
    assert response.status_code == 400
    assert {(error["field"], error["code"]) for error in response.json()["errors"]} == expected


def test_a_broadcast_whose_text_is_wrong_names_it_for_each(make_customer: MakeCustomer, post: Post) -> None:
    body = {"customer_id": ids.to_text(make_customer()), "to": ["09121234567", "021"], "text": "\x00"}
    results = post("/v1/sms/batch", body).json()["results"]
    assert [[error["field"] for error in result["errors"]] for result in results] == [["text"], ["to", "text"]]


def test_a_partial_batch_is_accepted_until_the_balance_ends(make_customer: MakeCustomer, post: Post) -> None:
    customer_id = make_customer(balance=350)
    body = {
        "customer_id": ids.to_text(customer_id),
        "on_insufficient_balance": "partial",
        "messages": [
            {"to": "09121234567", "text": "one"},
            {"to": "021", "text": "wrong"},
            {"to": "09121234567", "text": "x" * 161},  # two segments
            {"to": "09121234567", "text": "too much"},
            {"to": "09121234567", "text": "after"},
        ],
    }
    first = post("/v1/sms/batch", body, **{"Idempotency-Key": "partial"})
    answer = first.json()
    assert (answer["accepted"], answer["refused"], answer["cost"], answer["balance"]) == (2, 3, 300, 50)
    assert [result["status"] for result in answer["results"]] == [
        "accepted",
        "refused",
        "accepted",
        "refused",
        "refused",
    ]
    assert [error["code"] for error in answer["results"][3]["errors"]] == ["insufficient_balance"]
    assert "id" not in answer["results"][4]
    assert Message.objects.filter(customer_id=customer_id).count() == 2
    again = post("/v1/sms/batch", body, **{"Idempotency-Key": "partial"})
    assert (again.content, again["Idempotent-Replayed"]) == (first.content, "true")


def test_a_partial_batch_of_which_nothing_is_paid_is_refused(make_customer: MakeCustomer, post: Post) -> None:
    body = {
        "customer_id": ids.to_text(make_customer(balance=99)),
        "on_insufficient_balance": "partial",
        "to": ["09121234567"],
        "text": "x",
    }
    assert post("/v1/sms/batch", body).status_code == 402
