"""Customers in the console: made, found, changed, suspended with a reason; their keys."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from rest_framework.test import APIClient

from apps.balance.models import Account
from apps.console.models import Act
from apps.customers.callback_endpoints import endpoint_set
from apps.customers.keys import customer_of, key_create
from apps.customers.models import ApiKey, CallbackHealth, Customer
from smsgateway import ids
from tests.support.console import Person, shown_messages, token_of
from tests.support.customers import MakeCustomer

FORM = {
    "name": "Bazaar",
    "email": "ops@bazaar.example",
    "phone": "0912 123 4567",
    "segments_per_second": "50",
    "messages_per_minute": "",
    "refund_on": ["failed", "expired"],
}


def names(response: Any) -> list[str]:
    return [customer.name for customer in response.context["cl"].result_list]


def test_a_customer_is_made_with_an_account_and_leads_to_its_page(person: Person) -> None:
    administrator = person("Administrator")
    made = administrator.post("/admin/customers/customer/add/", FORM)
    customer = Customer.objects.get()
    assert made["Location"] == f"/admin/console/customers/{ids.to_text(customer.pk)}/"
    assert (customer.email, customer.phone, customer.refund_on) == (
        "ops@bazaar.example",
        "+989121234567",
        ["failed", "expired"],
    )
    account = Account.objects.get()
    assert (account.customer_id, account.balance, account.currency) == (customer.pk, 0, "IRR")
    assert administrator.get(made["Location"]).status_code == 200
    act = Act.objects.get()
    assert (act.act, act.customer_id) == ("customer.add", customer.pk)


def test_a_change_saves_only_the_changed_fields(person: Person, make_customer: MakeCustomer) -> None:
    customer_id = make_customer(name="Old")
    Customer.objects.filter(id=customer_id).update(status="suspended")
    crafted = FORM | {"name": "New", "status": "active", "balance": "5"}
    changed = person("Administrator").post(f"/admin/customers/customer/{customer_id}/change/", crafted)
    assert changed.status_code == 302
    customer = Customer.objects.get()
    assert (customer.name, customer.status, customer.account.balance) == ("New", "suspended", 1_000_000)
    assert person("Support").post(f"/admin/customers/customer/{customer_id}/change/", FORM).status_code == 403


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"name": ""}, "name"),
        ({"phone": "12"}, "phone"),
        ({"email": "x"}, "email"),
        ({"segments_per_second": 0}, "segments_per_second"),
    ],
)
def test_a_wrong_customer_is_refused(person: Person, form: dict[str, Any], field: str) -> None:
    answered = person("Administrator").post("/admin/customers/customer/add/", FORM | form)
    assert answered.context["adminform"].form.errors[field]
    assert not Customer.objects.exists()


def test_customers_are_found_by_name_id_number_and_key(person: Person, make_customer: MakeCustomer) -> None:
    bazaar, other = make_customer(name="Digital Bazaar"), make_customer(name="Other")
    Customer.objects.filter(id=other).update(phone="+989121234567")
    key, text = key_create(customer_id=bazaar)
    support = person("Support")

    def found(term: str) -> list[str]:
        return names(support.get("/admin/customers/customer/", {"q": term}))

    assert found("bAz") == ["Digital Bazaar"]
    assert found(ids.to_text(bazaar).lower()) == ["Digital Bazaar"]
    assert found("0912 123 4567") == found("+989121234567") == ["Other"]
    assert found(f"sgw_{key.prefix}") == found(text) == ["Digital Bazaar"]
    assert found("09121111111") == found("nobody") == []
    assert names(support.get("/admin/customers/customer/", {"status__exact": "suspended"})) == []


def test_the_list_counts_nothing_and_has_a_next_page(
    person: Person, make_customer: MakeCustomer, django_assert_max_num_queries: Any
) -> None:
    for number in range(51):
        make_customer(name=f"Customer {number:03}", balance=0)
    support = person("Support")
    with django_assert_max_num_queries(9) as queries:
        first = support.get("/admin/customers/customer/")
    assert not any("COUNT(" in query["sql"].upper() for query in queries.captured_queries)
    assert len(names(first)) == 50
    assert names(support.get("/admin/customers/customer/", {"p": 2})) == ["Customer 050"]


def test_suspending_asks_for_a_reason_and_stops_sends(person: Person, make_customer: MakeCustomer, post: Any) -> None:
    customer_id = make_customer()
    administrator = person("Administrator")
    page = f"/admin/console/customers/{ids.to_text(customer_id)}/status/"
    assert administrator.post(page, {"to": "suspended", "why": ""}).context["form"].errors["why"]
    administrator.post(page, {"to": "suspended", "why": "unpaid invoice"})
    body = {"customer_id": ids.to_text(customer_id), "to": "09121234567", "text": "hi"}
    assert post("/v1/sms/send", body).json()["code"] == "customer_suspended"
    administrator.post(page, {"to": "suspended", "why": "pressed twice"})
    administrator.post(page, {"to": "active", "why": "paid"})
    assert post("/v1/sms/send", body).status_code == 200
    acts = [(act.act, act.why) for act in Act.objects.order_by("id")]
    assert acts == [("customer.suspend", "unpaid invoice"), ("customer.resume", "paid")]


def test_a_key_is_shown_once_and_a_form_makes_one(person: Person, make_customer: MakeCustomer, api: APIClient) -> None:
    customer_id = make_customer()
    administrator = person("Administrator")
    page = f"/admin/console/customers/{ids.to_text(customer_id)}/keys/"
    form = {"label": "shop", "token": token_of(administrator.get(page + "new/"))}
    made = administrator.post(page + "new/", form)
    assert customer_of(text=made.context["key"], cache_seconds=0) == customer_id
    assert "no-store" in made["Cache-Control"]
    again = administrator.post(page + "new/", form)
    assert "No key was created" in shown_messages(again)
    assert ApiKey.objects.count() == 1
    listed = administrator.get(page).content.decode()
    assert f"sgw_{ApiKey.objects.get().prefix}" in listed
    assert made.context["key"] not in listed
    assert not any(made.context["key"] in str(act.details) + act.subject for act in Act.objects.all())


def test_a_rotated_key_works_for_its_time_and_a_revoked_one_not(person: Person, make_customer: MakeCustomer) -> None:
    from apps.customers.errors import InvalidApiKey

    customer_id = make_customer()
    old, old_text = key_create(customer_id=customer_id, label="shop")
    administrator = person("Administrator")
    page = f"/admin/console/keys/{old.prefix}"
    form = {"hours": "24", "token": token_of(administrator.get(f"{page}/rotate/"))}
    shown = administrator.post(f"{page}/rotate/", form)
    new_text = shown.context["key"]
    assert {customer_of(text=text, cache_seconds=0) for text in (old_text, new_text)} == {customer_id}
    assert "No key was created" in shown_messages(
        administrator.post(f"{page}/rotate/", form | {"token": token_of(administrator.get(f"{page}/rotate/"))})
    )
    assert administrator.post(f"{page}/revoke/", {"why": ""}).context["form"].errors["why"]
    administrator.post(f"{page}/revoke/", {"why": "leaked"})
    with pytest.raises(InvalidApiKey):
        customer_of(text=old_text, cache_seconds=0)
    assert customer_of(text=new_text, cache_seconds=0) == customer_id
    assert [(act.act, act.why) for act in Act.objects.order_by("id")] == [("key.rotate", ""), ("key.revoke", "leaked")]


def test_a_rotation_at_once_ends_the_old_key(person: Person, make_customer: MakeCustomer) -> None:
    from apps.customers.errors import InvalidApiKey

    old, old_text = key_create(customer_id=make_customer())
    administrator = person("Administrator")
    page = f"/admin/console/keys/{old.prefix}/rotate/"
    administrator.post(page, {"hours": "0", "token": token_of(administrator.get(page))})
    with pytest.raises(InvalidApiKey):
        customer_of(text=old_text, cache_seconds=0)


def test_a_customers_page_shows_where_its_callbacks_are_paused(person: Person, make_customer: MakeCustomer) -> None:
    customer_id, other = make_customer(), make_customer()
    for owner in (customer_id, other):
        endpoint_set(customer_id=owner, url="https://shop.example/", statuses=["delivered"], enabled=True)
    support = person("Support")
    page = f"/admin/console/customers/{ids.to_text(customer_id)}/"
    assert b"paused" not in support.get(page).content
    since = dt.datetime(2026, 11, 30, 8, 0, tzinfo=dt.UTC)
    for host, error in (("", "server_error"), ("https://hooks.example:8443", "timeout")):
        CallbackHealth.objects.create(
            customer_id=customer_id,
            host=host,
            failures=17,
            failing_since=since,
            pauses=1,
            paused_until=since + dt.timedelta(minutes=1),
            last_error=error,
        )
    shown = support.get(page).content.decode()
    assert "paused until 2026-11-30 08:01 UTC: 17 calls have failed since 2026-11-30 08:00 UTC (server_error)" in shown
    assert "Callbacks to https://hooks.example:8443 are paused" in shown
    assert "paused" not in support.get(f"/admin/console/customers/{ids.to_text(other)}/").content.decode()
