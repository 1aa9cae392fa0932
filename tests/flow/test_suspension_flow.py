"""A customer is suspended while its messages are queued and scheduled: with every process running, none is sent until
it is active again; what expires meanwhile is refunded."""

from __future__ import annotations

import datetime as dt

import pytest

from apps.balance.selectors import accounts_off
from apps.customers.services import customer_status_set
from apps.devservices.gateway import Gateway
from apps.sms.models import StatusEntry
from smsgateway import ids
from tests.support.customers import MakeCustomer
from tests.support.running_gateway import call
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.flow, pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]

PACE = 5


def test_nothing_of_a_suspended_customer_goes_out_until_it_is_active(
    gateway: Gateway, make_customer: MakeCustomer
) -> None:
    suspended, other = make_customer(pace=PACE), make_customer(pace=PACE)

    def send(customer: object, count: int, **more: object) -> list[str]:
        body = {"customer_id": ids.to_text(customer), "text": "x", "to": ["09121234567"] * count, **more}  # type: ignore[arg-type]
        status, answer = call("POST", f"{gateway.api_url}/v1/sms/batch", body)
        assert status == 200, answer
        return [result["id"] for result in answer["results"]]

    def reached(messages: list[str], *statuses: str) -> set[str]:
        found = StatusEntry.objects.filter(message_id__in=map(ids.from_text, messages), status__in=statuses)
        return {ids.to_text(entry.message_id) for entry in found}

    def others_are_sent(count: int) -> None:
        """So long that the suspended customer's pace would have sent as many."""
        sent = send(other, count)
        wait_for(lambda: len(reached(sent, "delivered")) == count, "the other customer's messages")

    def soon(seconds: float) -> str:
        return (dt.datetime.now(tz=dt.UTC) + dt.timedelta(seconds=seconds)).isoformat()

    queued = send(suspended, 60, priority="bulk")
    wait_for(lambda: len(reached(queued, "submitted")) >= 3, "the first messages to go out")
    urgent = send(suspended, 4, priority="otp", send_at=soon(3))
    short = send(suspended, 2, send_at=soon(3), valid_for=4)
    customer_status_set(customer_id=suspended, status="suspended")
    others_are_sent(4 * PACE)  # within seconds
    before = reached(queued, "submitted")
    marker = send(other, 1, send_at=soon(1))
    others_are_sent(4 * PACE)
    wait_for(lambda: reached(marker, "delivered"), "a message that was due later")
    assert reached(queued, "submitted") == before
    assert reached(urgent, "submitted") == set()
    wait_for(lambda: len(reached(short, "expired")) == 2, "the short-lived messages to expire")
    assert all(entry.refund for entry in StatusEntry.objects.filter(status="expired"))

    customer_status_set(customer_id=suspended, status="active")
    everything = [*queued, *urgent]
    wait_for(lambda: reached(everything, "delivered") == set(everything), "the rest to be delivered")
    assert StatusEntry.objects.filter(status="submitted").count() == len(everything) + 8 * PACE + 1
    assert not accounts_off()
