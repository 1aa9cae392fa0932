"""Callbacks with every process running: from a send to a signed request at the customer's endpoint."""

from __future__ import annotations

import pytest

from apps.devservices.gateway import CALLBACKS, Gateway
from smsgateway import ids
from tests.support.callbacks import Endpoint
from tests.support.customers import MakeCustomer
from tests.support.running_gateway import call
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.flow, pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]


def test_the_customer_is_told_of_each_message_once_though_the_process_is_stopped_on_the_way(
    gateway: Gateway, make_customer: MakeCustomer
) -> None:
    customer_id = ids.to_text(make_customer(pace=200))
    address = f"{gateway.api_url}/v1/customers/{customer_id}"
    with Endpoint() as endpoint:
        code, made = call("PUT", f"{address}/callback", {"url": endpoint.url})
        assert code == 200, made
        expected = {}
        for number, (recipient, outcome) in enumerate(
            (("09121230001", "delivered"), ("09351230002", "undelivered"), ("09121230003", "rejected")) * 5
        ):
            if number == 7:
                assert gateway.stop(CALLBACKS) == 0
                gateway.start(CALLBACKS)
            body = {"customer_id": customer_id, "to": recipient, "text": "یک پیام"}
            code, answer = call("POST", f"{gateway.api_url}/v1/sms/send", body)
            assert code == 200, answer
            expected[answer["id"]] = outcome
        wait_for(lambda: len(endpoint.received) >= len(expected), "the callbacks")
        log = f"{address}/callbacks?status=delivered"
        wait_for(lambda: len(call("GET", log)[1]["callbacks"]) == len(expected), "the log")
    told = [received.verified(made["secret"]) for received in endpoint.received]
    assert len(told) == len(expected)
    assert {event["data"]["id"]: event["data"]["status"] for event in told} == expected
    assert {event["type"] for event in told} == {f"message.{outcome}" for outcome in expected.values()}
