"""The console says what waits of a suspended customer, and cancels it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from confluent_kafka import Producer
from django.conf import settings

from apps.balance.models import Account
from apps.balance.selectors import accounts_off
from apps.console.models import Act
from apps.console.pages import waiting
from apps.customers.services import customer_status_set
from apps.sms.models import HeldMessage, OutboxEntry, StatusEntry
from apps.sms.outbox import relay
from smsgateway import ids
from smsgateway.kafka import client as kafka
from tests.support.console import Person, shown_messages
from tests.support.customers import MakeCustomer

WHY = {"why": "fraud"}


@pytest.fixture
def customer_id(make_customer: MakeCustomer, post: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> UUID:
    """Suspended, with two messages that are held and one that is scheduled."""
    OutboxEntry.objects.all().delete()
    customer_id = make_customer(balance=10_000, name="Bazaar")
    later = (dt.datetime.now(tz=dt.UTC) + dt.timedelta(days=1)).isoformat()
    for more in ({}, {}, {"send_at": later}):
        body = {"customer_id": ids.to_text(customer_id), "to": "09121234567", "text": "x", **more}
        assert post("/v1/sms/send", body).status_code == 200
    customer_status_set(customer_id=customer_id, status="suspended")
    monkeypatch.setattr(kafka, "publish_and_wait", lambda _producer, records, **_: list(records))
    relay.relay_round(producer=Producer({}), config=settings.CONFIG)
    return customer_id


def path(customer_id: UUID, rest: str = "") -> str:
    return f"/admin/console/customers/{ids.to_text(customer_id)}/{rest}"


def test_the_pages_show_held_messages_and_that_they_are_not_sent(person: Person, customer_id: UUID) -> None:
    support = person("Support")
    page = support.get(path(customer_id)).content.decode()
    assert "2 held, 1 scheduled." in page
    assert "The customer is suspended: none of these messages is sent" in page
    page = support.get(path(customer_id, "waiting/")).content.decode()
    assert "2 held and 1 scheduled messages" in page
    [held, _] = HeldMessage.objects.order_by("due_at")
    assert ids.to_text(held.message_id) in page
    page = support.get(f"/admin/console/messages/{ids.to_text(held.message_id)}/").content.decode()
    assert "Held since" in page
    assert "its customer is suspended" in page
    stuck = support.get("/admin/console/stuck/").content.decode()
    assert "Bazaar" in stuck
    assert "Held because their customer is suspended" in stuck
    asked = person("Administrator").get(path(customer_id, "status/")).content.decode()
    assert "held messages are sent in their order" in asked
    customer_status_set(customer_id=customer_id, status="active")
    asked = person("Administrator").get(path(customer_id, "status/")).content.decode()
    assert "are held within seconds until the customer is active again" in asked


def test_one_message_is_canceled_with_a_reason(person: Person, customer_id: UUID) -> None:
    held = HeldMessage.objects.filter(is_held=True)[0]
    url = f"/admin/console/messages/{ids.to_text(held.message_id)}/cancel/"
    assert person("Finance").post(url, WHY).status_code == 403
    support = person("Support")
    assert support.post(url, {"why": ""}).status_code == 200
    assert not StatusEntry.objects.exists()
    assert "was canceled" in shown_messages(support.post(url, WHY))
    assert StatusEntry.objects.get().status == "canceled"
    act = Act.objects.get()
    assert (act.act, act.why, act.customer_id) == ("message.cancel", "fraud", customer_id)
    assert act.details["changes"] == [["given back", "", "1.00 IRR"]]
    assert Account.objects.get(customer_id=customer_id).balance == 9_800
    page = support.get(f"/admin/console/messages/{ids.to_text(held.message_id)}/").content.decode()
    assert "Held since" not in page
    HeldMessage.objects.update(is_held=False)
    other = HeldMessage.objects.exclude(message_id=held.message_id).get()
    gone = support.post(f"/admin/console/messages/{ids.to_text(other.message_id)}/cancel/", WHY)
    assert "was not canceled" in shown_messages(gone)


def test_all_waiting_messages_are_canceled_and_recorded(person: Person, customer_id: UUID) -> None:
    url = path(customer_id, "waiting/cancel/")
    assert person("Finance").post(url, WHY).status_code == 403
    administrator = person("Administrator")
    assert "2 held and 1 scheduled messages" in administrator.get(url).content.decode()
    said = shown_messages(administrator.post(url, WHY))
    assert "3 messages canceled" in said
    assert "are left" not in said
    assert Account.objects.get(customer_id=customer_id).balance == 10_000
    assert not accounts_off()
    act = Act.objects.get()
    assert (act.act, act.details) == (
        "message.cancel",
        {"messages": 3, "refunded": 300, "changes": [["given back", "", "3.00 IRR"]]},
    )
    assert "given back: nothing → 3.00 IRR" in administrator.get("/admin/console/audit/").content.decode()
    assert "0 messages canceled" in shown_messages(administrator.post(url, WHY))


def test_messages_left_after_one_cancellation_are_counted(
    person: Person, customer_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "_SECONDS", -1.0)
    said = shown_messages(person("Administrator").post(path(customer_id, "waiting/cancel/"), WHY))
    assert "2 held and 1 scheduled messages remain. Cancel again to continue." in said
