"""Limits hold for the text as it is sent: composed and transliterated first, then checked and charged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from apps.balance.models import Account
from apps.sms.encoding import prepare
from apps.sms.models import Message
from smsgateway import ids
from tests.support.customers import MakeCustomer

Post = Callable[..., Any]


def every_way(customer_id: Any, **wishes: Any) -> list[tuple[str, dict[str, Any]]]:
    """The same message by every way to ask for it."""
    customer, to = ids.to_text(customer_id), "09121234567"
    item = {"to": to, "transliterate": True} | wishes
    return [
        ("/v1/sms/send", {"customer_id": customer, **item}),
        ("/v1/sms/batch", {"customer_id": customer, "messages": [item]}),
        ("/v1/sms/batch", {"customer_id": customer, **item, "to": [to]}),
        ("/v1/sms/estimate", {"customer_id": customer, "messages": [item]}),
    ]


def outcome(response: Any) -> dict[str, Any]:
    """Of the only message: its part of the answer, or the problem."""
    answer: dict[str, Any] = response.json()
    return dict(answer["results"][0]) if "results" in answer else answer


@pytest.mark.parametrize(
    ("wishes", "code"),
    [
        ({"text": "\u200b"}, "empty"),
        ({"text": "\u200b\u2060\ufeff\u00ad\u200c\u202a\u202c"}, "empty"),
        ({"text": "\u200b", "encoding": "gsm7"}, "empty"),
        ({"text": "…" * 1530}, "too_long"),
        ({"text": "…" * 511}, "too_long"),
        ({"text": "ﬃ" * 511}, "too_long"),
        ({"text": "…" * 54, "max_segments": 1}, "too_many_segments"),
        ({"text": "…" * 510, "max_segments": 9}, "too_many_segments"),
        ({"text": "ﬁ" * 81, "max_segments": 1}, "too_many_segments"),
        ({"text": "e\u0301س", "encoding": "gsm7"}, "not_gsm7"),
    ],
)
def test_what_is_sent_must_be_within_the_limits(
    make_customer: MakeCustomer, post: Post, wishes: dict[str, Any], code: str
) -> None:
    customer_id = make_customer(balance=5000)
    for path, body in every_way(customer_id, **wishes):
        errors = outcome(post(path, body))["errors"]
        assert [(error["field"], error["code"]) for error in errors] == [("text", code)]
    assert Account.objects.get(customer_id=customer_id).balance == 5000


@pytest.mark.parametrize(
    ("wishes", "sent", "encoding", "segments"),
    [
        ({"text": "Cafe\u0301"}, "Café", "gsm7", 1),
        ({"text": "A\u030angstro\u0308m \u212b \u2126"}, "Ångström Å Ω", "gsm7", 1),
        ({"text": "e\u200b\u0301"}, "é", "gsm7", 1),
        ({"text": "\u1fef\u037e"}, "';", "gsm7", 1),  # both compose to plain characters
        ({"text": "n\u0303" * 160}, "ñ" * 160, "gsm7", 1),
        ({"text": "a" * 1530 + "\u200b" * 30}, "a" * 1530, "gsm7", 10),
        ({"text": "e\u0301" * 1000, "max_segments": 7}, "é" * 1000, "gsm7", 7),
        ({"text": "…" * 53, "max_segments": 1}, "." * 159, "gsm7", 1),
        ({"text": "a\u00a0b\u202fc\u2028d"}, "a b c\nd", "gsm7", 1),
        ({"text": "ﬁne oﬃce"}, "fine office", "gsm7", 1),
        ({"text": "co\u00adop\u200cer\u200date \u200eOK\u200f"}, "cooperate OK", "gsm7", 1),
        ({"text": "a\r\nb\fc"}, "a\r\nb\fc", "gsm7", 1),
        # What goes as UCS-2 keeps its joiners and its typography; it is composed all the same.
        ({"text": "می\u200cخواهم «x»…"}, "می\u200cخواهم «x»…", "ucs2", 1),
        ({"text": "\u0627\u0653" * 70}, "\u0622" * 70, "ucs2", 1),
        ({"text": "a\u200cb…", "encoding": "ucs2"}, "a\u200cb…", "ucs2", 1),
        ({"text": "e\u0301", "transliterate": False}, "e\u0301", "ucs2", 1),
    ],
)
def test_a_text_is_sent_as_it_is_charged(
    make_customer: MakeCustomer, post: Post, wishes: dict[str, Any], sent: str, encoding: str, segments: int
) -> None:
    customer_id = make_customer()
    for path, body in every_way(customer_id, **wishes):
        answer = outcome(post(path, body))
        assert (answer["encoding"], answer["segments"], answer["cost"]) == (encoding, segments, 100 * segments)
    assert set(Message.objects.filter(customer_id=customer_id).values_list("text", flat=True)) == {sent}


def test_a_text_beside_other_faults_is_judged_as_it_would_be_sent(make_customer: MakeCustomer, post: Post) -> None:
    def faults(text: str) -> list[tuple[str, str]]:
        body = {"customer_id": ids.to_text(make_customer()), "to": "09121234567", "text": text}
        errors = post("/v1/sms/send", body | {"transliterate": True, "priority": 9}).json()["errors"]
        return [(error["field"], error["code"]) for error in errors if error["field"] == "text"]

    assert faults("…" * 1530) == [("text", "too_long")]
    assert faults("\u200b") == [("text", "empty")]
    assert faults("a" * 1530 + "\u200b" * 30) == []


@pytest.mark.parametrize(("marks", "is_composed"), [(30, True), (31, False), (40_000, False)])
def test_a_heap_of_accents_is_left_as_it_is(marks: int, is_composed: bool) -> None:
    # Composing sorts the marks on a letter, which takes time by the square of their number: a minute for the last one.
    heap = "a" + ("\u0301\u0323" * marks)[:marks]
    assert (prepare(heap, transliterate=True) != heap) is is_composed
