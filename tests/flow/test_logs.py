"""One request is followed through the log lines of every process; no line tells a text or a key."""

from __future__ import annotations

import http.client
import json
from urllib.parse import urlsplit

import pytest

from apps.customers.keys import key_create
from apps.devservices.gateway import API, DELIVER, INGEST, NAMES, OPERATOR_SIMULATOR, RELAY, SETTLE, Gateway
from smsgateway import ids
from tests.support.customers import MakeCustomer
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.flow, pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]

TEXT = "My secret words are 83917"


@pytest.fixture(autouse=True)
def _talkative(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOW_LOG_LEVEL", "debug")
    monkeypatch.setenv("API_KEYS", "optional")


def test_a_request_is_followed_through_every_process(gateway: Gateway, make_customer: MakeCustomer) -> None:
    customer = make_customer(balance=10_000)
    _, key = key_create(customer_id=customer)
    client = http.client.HTTPConnection(urlsplit(gateway.api_url).netloc, timeout=60)
    body = {"customer_id": ids.to_text(customer), "to": "09121230001", "text": TEXT}
    headers = {"Content-Type": "application/json", "X-Request-ID": "follow-me-1", "Authorization": f"Bearer {key}"}
    client.request("POST", "/v1/sms/send", json.dumps(body), headers)
    answer = client.getresponse()
    assert answer.headers["X-Request-ID"] == "follow-me-1"
    message_id = json.loads(answer.read())["id"]
    client.close()

    def told_by(process: str) -> set[str]:
        """The events that this process told of the message with the request's id."""
        lines = [json.loads(line) for line in gateway.log(process).read_text().splitlines()]
        return {
            line["event"]
            for line in lines
            if line.get("message_id") == message_id and line.get("request_id") == "follow-me-1"
        }

    for process, event in (
        (API, "accepted"),
        (RELAY, "relayed"),
        (DELIVER, "delivery_ended"),
        (SETTLE, "event_written"),
        (INGEST, "event_written"),
    ):
        wait_for(lambda: event in told_by(process), f"{process} to tell of {event}")  # noqa: B023
    gateway.stop_all()
    for process in NAMES:
        text = gateway.log(process).read_text()
        lines = [json.loads(line) for line in text.splitlines()]
        assert all({"event", "level", "timestamp"} <= line.keys() for line in lines), process
        if process != OPERATOR_SIMULATOR:
            for secret in (TEXT, "83917", key, key[12:], "9121230001"):
                assert secret not in text, process
