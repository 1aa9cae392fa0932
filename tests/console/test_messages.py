"""Messages found by id, number and reference, and the story of one; callbacks and their replay."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from msgspec.structs import replace

from apps.console.models import Act
from apps.customers.callback_endpoints import endpoint_disable
from apps.customers.models import Customer
from apps.sms.models import Callback, Message, ReceiptNote
from apps.sms.settlement.service import statuses_settle
from smsgateway import ids
from tests.support.callbacks import accept, endpoint_of, event, settle
from tests.support.console import Person, shown_messages
from tests.support.customers import MakeCustomer

LIST = "/admin/console/messages/"


def found(response: Any) -> list[str]:
    """The ids in the list."""
    return [re.search(r"[0-9A-Z]{26}", row[1])[0] for row in response.context["table"]["rows"]]  # type: ignore[index]


def texts(keys: list[Any]) -> list[str]:
    return [ids.to_text(key) for key in keys]


def test_messages_are_found_by_id_number_and_reference(person: Person, make_customer: MakeCustomer) -> None:
    first, second = make_customer(name="Bazaar"), make_customer(name="Other")
    one = accept(first, recipient="+989121110001", reference="order-1")
    two = accept(second, recipient="+989121110001", reference="order-2")
    three = accept(second, recipient="+989121110003", reference="order-1")
    support = person("Support")
    assert found(support.get(LIST)) == texts(three + two + one)
    assert found(support.get(LIST, {"q": "0912 111 0001"})) == texts(two + one)
    assert found(support.get(LIST, {"q": "order-1"})) == texts(three + one)
    assert found(support.get(LIST, {"q": "order-1", "customer": ids.to_text(first)})) == texts(one)
    assert found(support.get(LIST, {"q": "order-9"})) == []
    led = support.get(LIST, {"q": texts(one)[0].lower()})
    assert led["Location"] == f"/admin/console/messages/{texts(one)[0]}/"
    assert support.get(LIST, {"customer": "x"}).context["form"].errors["customer"]


@pytest.mark.parametrize(
    "written",
    [
        "09121110001",
        "9121110001",
        "989121110001",
        "0098 912 111 0001",
        "+98 (0) 912-111-0001",
        "۰۹۱۲ ۱۱۱ ۰۰۰۱",
        "٠٩١٢١١١٠٠٠١",
        "\u202a+98\u00a0912\u00a0111\u00a00001\u202c",
        "\u200e09121110001",
        "\u2066+98 912‑111‑0001\u2069",
        "＋９８９１２１１１０００１",
    ],
)
def test_a_number_is_found_however_it_is_written(person: Person, make_customer: MakeCustomer, written: str) -> None:
    customer_id = make_customer()
    sent = accept(customer_id, recipient="+989121110001")
    accept(customer_id, recipient="+989121110002")
    support = person("Support")
    assert found(support.get(LIST, {"q": written})) == texts(sent)
    Customer.objects.update(phone="+989121110001")
    make_customer(name="Other")
    listed = support.get("/admin/customers/customer/", {"q": written})
    assert [customer.pk for customer in listed.context["cl"].result_list] == [customer_id]


def test_only_the_partitions_of_the_range_are_read(person: Person, make_customer: MakeCustomer) -> None:
    accept(make_customer())
    support = person("Support")
    today = dt.datetime.now(tz=dt.UTC).date()
    for query in ({}, {"q": "+989121234567"}, {"q": "a-reference"}):
        with CaptureQueriesContext(
            connection,
        ) as captured:
            support.get(LIST, {"since": today.isoformat(), "until": today.isoformat(), **query})
        (listed,) = [each["sql"] for each in captured if 'ORDER BY "sms_message"."id" DESC' in each["sql"]]
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN {listed}")
            plan = "\n".join(row[0] for row in cursor.fetchall())
        assert set(re.findall(r"sms_message_\d{8}", plan)) == {f"sms_message_{today:%Y%m%d}"}, plan


def test_a_long_list_comes_in_pages_and_counts_nothing(person: Person, make_customer: MakeCustomer) -> None:
    sent = accept(make_customer(), 51)
    support = person("Support")
    with CaptureQueriesContext(connection) as captured:
        first = support.get(LIST)
    assert not any("COUNT(" in each["sql"].upper() for each in captured)
    second = support.get(f"{LIST}?{first.context['older']}")
    assert found(first) + found(second) == texts(sent[::-1])
    assert second.context["older"] == ""


@pytest.mark.parametrize(
    "query",
    [{"since": "2026-13-01"}, {"since": "2026-02-01", "until": "2026-01-01"}, {"since": "2020-01-01"}, {"before": "x"}],
)
def test_a_wrong_range_is_refused_with_the_reason(person: Person, query: dict[str, str]) -> None:
    answered = person("Support").get(LIST, query)
    assert answered.status_code == 200
    assert answered.context["form"].errors


def test_a_messages_page_shows_statuses_operator_cost_refund_and_callbacks(
    person: Person, make_customer: MakeCustomer
) -> None:
    customer_id = make_customer(name="Bazaar")
    (message_id,) = accept(customer_id, callback_url="http://127.0.0.1:9/")
    page = f"/admin/console/messages/{ids.to_text(message_id)}/"
    support = person("Support")
    assert support.get(page).context["changing"]
    submitted = replace(event(message_id, customer_id, "submitted"), operator_message_id="op-77")
    failed = replace(event(message_id, customer_id, "undelivered"), error="no-such-number")
    statuses_settle(batch=[submitted, failed])
    shown = support.get(page)
    assert [step["status"] for step in shown.context["steps"]] == ["accepted", "submitted", "undelivered"]
    assert not shown.context["changing"]
    text = shown.content.decode()
    for part in ("op-77", "no-such-number", "Bazaar", "1.00 IRR", "message.undelivered", "ledger entry"):
        assert part in text, part
    assert dict(shown.context["facts"])["refunded"] != ""
    assert dict(shown.context["facts"])["ledger entry"] == "2"
    assert support.get(f"/admin/console/messages/{ids.to_text(ids.new_id())}/").status_code == 404


def test_a_message_that_is_being_retried_shows_its_tries_and_the_operators_answer(
    person: Person, make_customer: MakeCustomer
) -> None:
    customer_id = make_customer()
    (message_id,) = accept(customer_id)
    support, page = person("Support"), f"/admin/console/messages/{ids.to_text(message_id)}/"
    tried = replace(event(message_id, customer_id, "queued"), error="http_503", attempt=3)
    statuses_settle(batch=[replace(tried, error="timeout", attempt=2), tried])
    shown = support.get(page)
    assert shown.context["changing"]
    assert "queued" in shown.context["state"]
    step = shown.context["steps"][-1]
    answers = {name: re.sub("<[^>]+>", "", str(value)) for name, value in step["details"]}
    assert answers == {"operator": "mci", "operator's last answer": "http_503", "tries": "3"}
    statuses_settle(batch=[replace(event(message_id, customer_id, "submitted"), attempt=4)])
    steps = support.get(page).context["steps"]
    assert [step["status"] for step in steps] == ["accepted", "queued", "submitted"]
    assert ("tries", "4") in steps[-1]["details"]


def test_a_state_on_the_way_is_shown(person: Person, make_customer: MakeCustomer) -> None:
    [message_id] = accept(make_customer())
    ReceiptNote.objects.create(
        message_id=message_id,
        operator="shatel",
        operator_message_id="7",
        state="BUFFRED",
        error="021",
        at=1_800_000_000_000,
        tlvs={"0x1403": "3433"},
    )
    shown = person("Support").get(f"{LIST}{ids.to_text(message_id)}/").content.decode()
    assert "last report of shatel" in shown
    assert "BUFFRED, error 021" in shown
    assert "parameter 0x1403" in shown


def test_what_a_customer_writes_is_shown_as_text(person: Person, make_customer: MakeCustomer) -> None:
    nasty = "<script>alert(1)</script>"
    (message_id,) = accept(make_customer(name=nasty), text=nasty, reference=nasty, sender=nasty)
    support = person("Support")
    pages = (LIST, f"{LIST}{ids.to_text(message_id)}/", f"{LIST}?q={nasty}", "/admin/customers/customer/")
    for page in pages:
        assert nasty not in support.get(page).content.decode(), page


def test_a_callback_is_sent_again_with_an_entry_in_the_audit_log(person: Person, make_customer: MakeCustomer) -> None:
    customer_id = make_customer()
    endpoint_of(customer_id, "http://127.0.0.1:9/")
    settle(customer_id)
    callback = Callback.objects.get()
    Callback.objects.update(status="failed", attempts=11, last_http_status=500)
    support = person("Support")
    listed = support.get("/admin/console/callbacks/", {"status": "failed"})
    assert len(listed.context["table"]["rows"]) == 1
    page = f"/admin/console/callbacks/{ids.to_text(callback.id)}/"
    assert b"Send again" in support.get(page).content
    assert b"Send again" not in person("Finance").get(page).content
    assert support.get(f"{page}replay/").status_code == 405
    support.post(f"{page}replay/")
    callback.refresh_from_db()
    assert (callback.status, callback.attempts) == ("pending", 0)
    assert [act.act for act in Act.objects.all()] == ["callback.replay"]
    endpoint_disable(customer_id=customer_id, url="http://127.0.0.1:9/", reason="by hand")
    assert "was not sent again" in shown_messages(support.post(f"{page}replay/"))
    assert Act.objects.count() == 1


def test_a_page_that_takes_too_long_is_stopped_and_says_so(
    person: Person, make_customer: MakeCustomer, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept(make_customer())
    monkeypatch.setattr("apps.console.access._TIMEOUT_MILLISECONDS", 20)
    slow = Message.objects.extra(where=["pg_sleep(5) IS NOT NULL"])
    monkeypatch.setattr("apps.console.pages.messages.messages_find", lambda **_asked: list(slow))
    answered = person("Support").get(LIST)
    assert answered.status_code == 503
    assert b"longer than five seconds" in answered.content
