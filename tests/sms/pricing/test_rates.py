"""Prices by destination prefix, and estimates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import IntegrityError

from apps.balance.models import Account
from apps.customers.models import Customer
from apps.sms.models import Message, Rate
from smsgateway import ids
from tests.support.customers import MakeCustomer

Post = Callable[..., Any]


def cost(post: Post, customer_id: Any, to: str, text: str = "hi") -> int:
    response = post("/v1/sms/send", {"customer_id": ids.to_text(customer_id), "to": to, "text": text})
    assert response.status_code == 200, response.content
    return int(response.json()["cost"])


def test_the_longest_prefix_sets_the_price_of_a_segment(make_customer: MakeCustomer, post: Post) -> None:
    customer_id = make_customer()
    assert cost(post, customer_id, "09121234567") == 100  # SMS_COST_PER_SEGMENT
    Rate.objects.bulk_create(
        [Rate(prefix="98", price=50), Rate(prefix="98912", price=70), Rate(prefix="989121", price=0)]
    )
    assert cost(post, customer_id, "09351234567") == 50
    assert cost(post, customer_id, "09122234567", "a" * 161) == 2 * 70
    assert cost(post, customer_id, "09121234567") == 0
    assert cost(post, customer_id, "+447400123456") == 100
    Rate.objects.create(prefix="", price=9)
    assert cost(post, customer_id, "+447400123456") == 9


def test_a_customers_own_rate_comes_before_everybodys(make_customer: MakeCustomer, post: Post) -> None:
    mine, other = make_customer(), make_customer()
    Rate.objects.create(prefix="98912", price=70)
    Rate.objects.create(prefix="98", price=40, customer=Customer.objects.get(id=mine))
    assert cost(post, mine, "09121234567") == 40
    assert cost(post, other, "09121234567") == 70


def test_a_changed_rate_touches_no_message_that_was_accepted(make_customer: MakeCustomer, post: Post) -> None:
    customer_id = make_customer()
    cost(post, customer_id, "09121234567")
    Rate.objects.create(prefix="98", price=1)
    assert Message.objects.get(customer_id=customer_id).cost == 100


def test_one_prefix_has_one_rate(db: None) -> None:
    Rate.objects.create(prefix="98", price=1)
    with pytest.raises(IntegrityError, match="one_rate_a_prefix"):
        Rate.objects.create(prefix="98", price=2)


def test_an_estimate_tells_cost_and_route_and_charges_nothing(make_customer: MakeCustomer, post: Post) -> None:
    customer_id = make_customer(balance=120)
    Rate.objects.create(prefix="98935", price=30)
    messages = [{"to": "09351234567", "text": "س" * 71}, {"to": "021", "text": "x"}, {"to": "09121234567", "text": "x"}]
    response = post("/v1/sms/estimate", {"customer_id": ids.to_text(customer_id), "messages": messages})
    answer = response.json()
    assert (response.status_code, answer["cost"], answer["balance"], answer["currency"]) == (200, 160, 120, "IRR")
    assert answer["results"][0] == {
        "index": 0,
        "status": "valid",
        "to": "+989351234567",
        "encoding": "ucs2",
        "segments": 2,
        "cost": 60,
        "operator": "irancell",
    }
    assert [result["status"] for result in answer["results"]] == ["valid", "refused", "valid"]
    assert Account.objects.get(customer_id=customer_id).balance == 120
    assert not Message.objects.filter(customer_id=customer_id).exists()


def test_an_estimate_for_nobody_is_404(db: None, post: Post) -> None:
    body = {"customer_id": ids.to_text(ids.new_id()), "messages": [{"to": "09121234567", "text": "x"}]}
    assert post("/v1/sms/estimate", body).status_code == 404
