"""A sender id that cannot be sent is refused before the charge, at every entrance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from apps.balance.models import Account
from apps.sms.models import Message
from smsgateway import ids
from tests.support.customers import MakeCustomer

Post = Callable[..., Any]

WRONG = [
    "فروشگاه",
    "Shop\n",
    "Sh\rop",
    "Shop\f",
    "98100\n",
    "+",
    "+1",
    "12",
    "۱۲",
    " ",
    "\u00a0",
    "\u200b",
    "\n",
    "Shop\x00",
    "Shop\x1b",
    "Shop\x7f",
    "ç",
    "`",
    "Cafe\u0301",
    "😀",
    "\u200eShop",
    "a" * 12,
    "a" * 15,
    "a" * 500,
    "€" * 6,
    "a" * 10 + "€",
    "1" * 16,
    "+" + "1" * 16,
    "+98912123456x",
    "@Ω",
]
RIGHT = [
    ("Shop", "Shop"),
    ("S", "S"),
    ("a" * 11, "a" * 11),
    ("€" * 5 + "a", "€" * 5 + "a"),
    ("[Shop]", "[Shop]"),
    ("Café Ñ ß@", "Café Ñ ß@"),
    ("ΔΩ", "ΔΩ"),
    ("+Shop", "+Shop"),
    ("A+B", "A+B"),
    ("+98-100", "+98-100"),
    ("  Shop ", "Shop"),
    ("Shop۲۴", "Shop24"),
    ("100", "100"),
    ("+100", "+100"),
    ("+" + "9" * 15, "+" + "9" * 15),
    ("1" * 15, "1" * 15),
    ("۹۸۱۰۰", "98100"),
    ("+٩٨١٠٠", "+98100"),
    ("９８１００", "98100"),
    ("0912", "0912"),
]


def requests_with(customer_id: Any, sender: str) -> list[tuple[str, dict[str, Any]]]:
    """The same message by every way to ask for it."""
    customer, to = ids.to_text(customer_id), "09121234567"
    item = {"to": to, "text": "hi", "from": sender}
    return [
        ("/v1/sms/send", {"customer_id": customer, **item}),
        ("/v1/sms/batch", {"customer_id": customer, "messages": [item]}),
        ("/v1/sms/batch", {"customer_id": customer, "messages": [item, {"to": to, "text": "hi", "colour": 1}]}),
        ("/v1/sms/batch", {"customer_id": customer, **item, "to": [to]}),
        ("/v1/sms/estimate", {"customer_id": customer, "messages": [item]}),
    ]


def errors(response: Any) -> list[tuple[str, str]]:
    answer = response.json()
    found = answer["errors"] if "errors" in answer else answer["results"][0].get("errors", [])
    return [(error["field"], error["code"]) for error in found]


@pytest.mark.parametrize("sender", WRONG)
def test_a_sender_that_cannot_be_sent_is_refused_and_nothing_is_charged(
    make_customer: MakeCustomer, post: Post, sender: str
) -> None:
    customer_id = make_customer(balance=500)
    for path, body in requests_with(customer_id, sender):
        response = post(path, body)
        assert response.status_code == (400 if path == "/v1/sms/send" else 200)
        assert errors(response) == [("from", "invalid_sender")]
    assert Account.objects.get(customer_id=customer_id).balance == 500


@pytest.mark.parametrize(("written", "sent"), RIGHT)
def test_a_sender_is_kept_as_it_is_sent(make_customer: MakeCustomer, post: Post, written: str, sent: str) -> None:
    customer_id = make_customer()
    for path, body in requests_with(customer_id, written):
        response = post(path, body)
        assert response.status_code == 200
        assert "errors" not in response.json().get("results", [{}])[0]
    senders = Message.objects.filter(customer_id=customer_id).values_list("sender", flat=True)
    assert list(senders) == [sent] * 4


def test_an_empty_sender_is_none(make_customer: MakeCustomer, post: Post) -> None:
    customer_id = make_customer()
    assert post(*requests_with(customer_id, "")[0]).status_code == 200
    assert Message.objects.get(customer_id=customer_id).sender == ""


@pytest.mark.parametrize(
    ("sender", "reason"),
    [
        ("فروشگاه", "U+0641"),
        ("Shop\n", "U+000A"),
        ("+", "3 to 15 digits"),
        (" ", "a character that shows"),
        ("a" * 15, "11 places at most, not 15"),
        ("€" * 6, "11 places at most, not 12"),
    ],
)
def test_the_reason_says_what_is_wrong(make_customer: MakeCustomer, post: Post, sender: str, reason: str) -> None:
    assert reason in post(*requests_with(make_customer(), sender)[0]).json()["errors"][0]["reason"]


def test_a_wrong_sender_is_named_beside_other_faults(make_customer: MakeCustomer, post: Post) -> None:
    body = {"customer_id": ids.to_text(make_customer()), "to": "021", "text": 5, "from": "x" * 99}
    assert errors(post("/v1/sms/send", body)) == [
        ("text", "wrong_type"),
        ("from", "invalid_sender"),
        ("to", "invalid_number"),
    ]
