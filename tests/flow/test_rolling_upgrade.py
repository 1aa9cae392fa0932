"""The processes of an earlier version and of this one side by side, on the same tables and topics: nothing is lost."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from apps.balance.models import Account, LedgerEntry
from apps.balance.selectors import accounts_off
from apps.devservices.gateway import API, CALLBACKS, DELIVER, INGEST, RELAY, REPORTING, SETTLE, Gateway
from apps.sms import statuses
from apps.sms.models import Message, StatusEntry
from smsgateway import ids
from tests.support.customers import MakeCustomer
from tests.support.running_gateway import all_final, call, metric_value, seen_by_operators, totals
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.flow, pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]

REPLACED: Final = (API, RELAY, DELIVER, SETTLE, INGEST, CALLBACKS, REPORTING)


@pytest.fixture
def earlier(gateway: Gateway, earlier_code: Path, tmp_path: Path) -> Iterator[Gateway]:
    """All processes of the earlier version besides those of this one, but for one relay: theirs."""
    gateway.stop(RELAY)
    with Gateway(directory=tmp_path / "logs of the earlier", environ=gateway._environ) as running:
        for name in ("OPERATOR_MCI_URL", "OPERATOR_IRANCELL_URL"):
            running._environ[name] = gateway.simulator_url
        running.start(*REPLACED, root=earlier_code)
        running.wait_ready(*REPLACED, timeout=120)
        yield running


def test_old_and_new_side_by_side_lose_nothing(gateway: Gateway, earlier: Gateway, make_customer: MakeCustomer) -> None:
    customers = [make_customer(balance=10**6, pace=300) for _ in range(3)]
    apis = [earlier.api_url, gateway.api_url]
    answered: list[str] = []
    ends = threading.Event()

    def send() -> None:
        number = 0
        while not ends.wait(0.02):
            number += 1
            body = {
                "customer_id": ids.to_text(customers[number % 3]),
                # Every twentieth does not arrive, and is refunded.
                "to": "09121230002" if number % 20 == 0 else f"0912{1000 + number % 1000:04}501",
                "text": f"message {number}",
                "priority": ("normal", "otp", "bulk")[number % 3],
            }
            try:
                code, answer = call("POST", f"{apis[number % len(apis)]}/v1/sms/send", body)
            except OSError:
                continue  # that API is being stopped; whether this one counted, the database tells
            assert code == 200, answer
            answered.append(answer["id"])

    failures: list[BaseException] = []

    def sending() -> None:
        try:
            send()
        except BaseException as error:
            failures.append(error)

    sender = threading.Thread(target=sending)
    sender.start()
    try:
        wait_for(lambda: len(answered) > 80 or failures, "messages under way")
        for name in (DELIVER, RELAY, SETTLE, INGEST, API, CALLBACKS, REPORTING):
            if name == API:
                apis[:] = [gateway.api_url]
            assert earlier.stop(name) == 0, name
            if name == RELAY:
                gateway.start(RELAY)
                gateway.wait_ready(RELAY)
            before = len(answered)
            wait_for(lambda: len(answered) > before + 15 or failures, "messages under way")  # noqa: B023
    finally:
        ends.set()
        sender.join()
    assert failures == []

    accepted = list(Message.objects.values_list("id", flat=True))
    assert {ids.from_text(answer) for answer in answered} <= set(accepted)
    wait_for(lambda: all_final(len(accepted)), "final statuses")
    _every_unit_of_money(customers)
    seen = seen_by_operators(gateway)
    assert sum(operator["duplicates"] for operator in seen.values()) == 0, "every stop was a clean one"
    for customer in customers:
        count = Message.objects.filter(customer_id=customer).count()
        wait_for(lambda: totals(gateway, ids.to_text(customer), "daily")["accepted"] == count, "statistics")  # noqa: B023
    for process in (DELIVER, SETTLE, INGEST):
        assert metric_value(gateway, process, "events_unreadable_total") == 0
    told = "".join(earlier.log(name).read_text() for name in REPLACED)
    assert "dead_letters" not in told
    assert "unexpected" not in told


def _every_unit_of_money(customers: list[Any]) -> None:
    assert accounts_off() == []
    kinds = Counter(LedgerEntry.objects.values_list("kind", flat=True))
    assert kinds["charge"] == Message.objects.count()
    assert kinds["refund"] == StatusEntry.objects.filter(status=statuses.UNDELIVERED).count() > 0
    for customer in customers:
        entries = LedgerEntry.objects.filter(customer_id=customer).order_by("entry").values_list("entry", flat=True)
        assert list(entries) == list(range(1, Account.objects.get(customer_id=customer).entries + 1))
