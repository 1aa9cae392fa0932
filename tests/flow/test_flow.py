"""The whole flow over HTTP, with every process running."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import pytest

from apps.balance.models import Account, LedgerEntry
from apps.balance.selectors import accounts_off
from apps.devservices.gateway import API, DELIVER, INGEST, RELAY, REPORTING, SETTLE, Gateway
from apps.sms import statuses
from apps.sms.messages.selectors import current_status
from apps.sms.models import Message, StatusEntry
from smsgateway import ids
from tests.support.customers import MakeCustomer
from tests.support.running_gateway import all_final, call, seen_by_operators, totals
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.flow, pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]


def status_of(gateway: Gateway, message_id: str) -> str:
    code, answer = call("GET", f"{gateway.api_url}/v1/sms/{message_id}")
    assert code == 200, answer
    return str(answer["status"])


def test_each_message_reaches_its_final_status_and_every_book_agrees(
    gateway: Gateway, make_customer: MakeCustomer
) -> None:
    customer = make_customer(balance=10_000, pace=200)
    customer_id = ids.to_text(customer)
    expected = {}
    for recipient, outcome in (
        ("09121230001", "delivered"),
        ("09351230002", "undelivered"),
        ("09121230003", "rejected"),
        ("09351230004", "delivered"),
        ("09211230005", "delivered"),
        ("09121230006", "failed"),
    ):
        body = {"customer_id": customer_id, "to": recipient, "text": "یک پیام"}
        code, answer = call("POST", f"{gateway.api_url}/v1/sms/send", body)
        assert code == 200, answer
        expected[answer["id"]] = outcome
    batch = [{"to": f"0912111{number:04}", "text": "a" * 161} for number in range(100, 120)]
    code, answer = call("POST", f"{gateway.api_url}/v1/sms/batch", {"customer_id": customer_id, "messages": batch})
    assert code == 200, answer
    expected |= {result["id"]: "delivered" for result in answer["results"]}

    wait_for(lambda: all_final(len(expected)), "final statuses")
    assert {message_id: status_of(gateway, message_id) for message_id in expected} == expected
    spent = (4 + 2 * 20) * 100 - 100  # of the first six, three were given back
    account = Account.objects.get(customer_id=customer)
    assert account.balance == 10_000 - spent
    assert not accounts_off()

    wanted = Counter(expected.values()) | Counter(accepted=26, segments=46, cost=4600, refunded=300, pending=0)
    for interval in ("minute", "daily"):
        wait_for(lambda: totals(gateway, customer_id, interval)["refunded"] == 300, "statistics")  # noqa: B023
        found = totals(gateway, customer_id, interval)
        assert {name: found[name] for name in wanted} == dict(wanted)
    seen = seen_by_operators(gateway)
    assert {name: operator["duplicates"] for name, operator in seen.items()} == {"mci": 0, "irancell": 0}
    assert sum(operator["distinct_references_accepted"] for operator in seen.values()) == 24
    # RighTel has no operator of its own here: the default one takes its numbers.
    assert seen["irancell"]["distinct_references_accepted"] == 2


@pytest.mark.parametrize(
    "gateway", [["--answer-delay", "20", "80", "--transient-rate", "0.1", "--no-magic-numbers"]], indirect=True
)
def test_sigterm_of_any_process_loses_and_duplicates_nothing(gateway: Gateway, make_customer: MakeCustomer) -> None:
    """Every process is stopped and started again while messages of a fast and a slow customer are under way."""
    fast, slow = make_customer(balance=10**6, pace=300), make_customer(balance=10**6, pace=20)
    answered: list[dict[str, Any]] = []
    sending_ends = threading.Event()
    sender = threading.Thread(target=send_until, args=(gateway, sending_ends, [fast, slow], answered))
    sender.start()
    try:
        for name in (DELIVER, SETTLE, RELAY, INGEST, DELIVER, API, REPORTING, DELIVER):
            before = len(answered)
            wait_for(lambda: len(answered) > before + 40, "messages under way")  # noqa: B023
            assert gateway.stop(name) == 0
            gateway.start(name)
            gateway.wait_ready(timeout=120)
    finally:
        sending_ends.set()
        sender.join()

    accepted = Message.objects.values_list("id", flat=True)
    assert {ids.from_text(answer["id"]) for answer in answered} <= set(accepted)
    wait_for(lambda: all_final(len(accepted)), "final statuses")
    seen = seen_by_operators(gateway)
    assert sum(operator["duplicates"] for operator in seen.values()) == 0
    found = {
        message_id: current_status(StatusEntry.objects.filter(message_id=message_id).values_list("status", flat=True))
        for message_id in accepted
    }
    submitted = StatusEntry.objects.filter(status=statuses.SUBMITTED).count()
    assert sum(operator["distinct_references_accepted"] for operator in seen.values()) == submitted
    assert Counter(found.values())["delivered"] == submitted
    assert not accounts_off()
    for customer in (fast, slow):
        account = Account.objects.get(customer_id=customer)
        entries = LedgerEntry.objects.filter(customer_id=customer).order_by("entry")
        assert [entry.entry for entry in entries] == list(range(1, account.entries + 1))
        count = Message.objects.filter(customer_id=customer).count()
        wait_for(
            lambda: totals(gateway, ids.to_text(customer), "daily")["delivered"] == count_delivered(customer),  # noqa: B023
            "statistics",
        )
        assert totals(gateway, ids.to_text(customer), "daily")["accepted"] == count


def count_delivered(customer_id: object) -> int:
    mine = Message.objects.filter(customer_id=customer_id).values("id")
    return StatusEntry.objects.filter(message_id__in=mine, status=statuses.DELIVERED).count()


def send_until(gateway: Gateway, ends: threading.Event, customers: list[Any], answered: list[dict[str, Any]]) -> None:
    """Send some fifty a second, three of the first customer's for each of the second's; keep what was accepted."""
    number = 0
    while not ends.wait(0.02):
        number += 1
        customer = customers[number % 4 == 0]
        body = {"customer_id": ids.to_text(customer), "to": f"0912{number:07}", "text": f"message {number}"}
        try:
            code, answer = call("POST", f"{gateway.api_url}/v1/sms/send", body)
        except OSError:
            ends.wait(0.05)  # the API is being started again; whether this one counted, the database tells
            continue
        if code == 200:
            answered.append(answer)
