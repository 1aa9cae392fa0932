"""What people type or paste into the console's forms never ends in an error page."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from apps.sms.models import Rate, Route
from smsgateway import ids
from tests.support.console import PASSWORD, Person, errors_of, route_form
from tests.support.customers import MakeCustomer

FORMS = {
    "/admin/sms/route/add/": (Route, route_form(("mci", 1, 1))),
    "/admin/sms/rate/add/": (Rate, {"prefix": "98912", "price": "100", "price_major": "1", "customer": ""}),
}


@pytest.mark.parametrize("address", list(FORMS))
@pytest.mark.parametrize("written", ["{ulid}", "{lower}", " {ulid} ", "{uuid}"])
def test_a_customer_may_be_given_by_its_id(
    person: Person, make_customer: MakeCustomer, address: str, written: str
) -> None:
    customer_id = make_customer()
    model, form = FORMS[address]
    ulid = ids.to_text(customer_id)
    text = written.format(ulid=ulid, lower=ulid.lower(), uuid=customer_id)
    answered = person("Administrator").post(address, form | {"customer": text})
    assert answered.status_code == 302
    assert model.objects.get().customer_id == customer_id


@pytest.mark.parametrize("address", list(FORMS))
@pytest.mark.parametrize("text", ["{unknown}", "x", "01", "a\x00b", "8" + "Z" * 25, "1234", "\u0661", "é" * 26])
def test_an_unknown_customer_is_an_error_of_the_field(
    person: Person, make_customer: MakeCustomer, address: str, text: str
) -> None:
    make_customer()
    model, form = FORMS[address]
    answered = person("Administrator").post(
        address, form | {"customer": text.format(unknown=ids.to_text(ids.new_id()))}
    )
    assert answered.status_code == 200
    assert list(answered.context["adminform"].form.errors) == ["customer"]
    assert not model.objects.exists()


@pytest.mark.parametrize("address", list(FORMS))
def test_a_link_may_name_the_customer(person: Person, make_customer: MakeCustomer, address: str) -> None:
    customer_id = make_customer(name="Bazaar")
    administrator = person("Administrator")
    for text in (ids.to_text(customer_id), str(customer_id)):
        shown = administrator.get(address, {"customer": text}).content.decode()
        assert f'value="{customer_id}"' in shown
        assert "Bazaar" in shown
    assert administrator.get(address, {"customer": "nobody"}).status_code == 200


def test_a_route_is_opened_and_changed_with_a_ulid(person: Person, make_customer: MakeCustomer) -> None:
    first, second = make_customer(), make_customer()
    administrator = person("Administrator")
    administrator.post("/admin/sms/route/add/", route_form(("mci", 1, 1), customer=str(first)))
    route = Route.objects.get()
    address = f"/admin/sms/route/{route.pk}/change/"
    changed = administrator.post(
        address, route_form(("mci", 1, 1), existing=route, customer=ids.to_text(second), rank="x")
    )
    assert "whole number" in errors_of(changed)  # and the form is shown again, with the customer that was given
    assert f'value="{second}"' in changed.content.decode()
    assert administrator.get(f"/admin/sms/route/{ids.to_text(first)}/change/").status_code == 302


@pytest.mark.parametrize("path", ["/admin/sms/route/", "/admin/sms/rate/", "/admin/customers/customer/"])
@pytest.mark.parametrize(
    "query", ["customer__id__exact=01M8PKWX1R7R8YH8X1V3WQ8J9A", "customer=x", "q=01M8PKWX1R7R8YH8X1V3WQ8J9A", "id=x"]
)
def test_a_list_with_a_wrong_filter_is_no_error_page(person: Person, path: str, query: str) -> None:
    assert person("Administrator").get(f"{path}?{query}", follow=True).status_code in (200, 400)


@pytest.mark.parametrize("address", ["/admin/login/", "/admin/login/?next="])
def test_the_login_that_is_opened_directly_leads_to_the_start_page(db: None, client: Client, address: str) -> None:
    User.objects.create_superuser("reza", password=PASSWORD)
    page = client.get(address)
    assert page.status_code == 200
    answered: Any = client.post(address, {"username": "reza", "password": PASSWORD}, follow=True)
    assert (answered.status_code, answered.redirect_chain) == (200, [("/admin/", 302)])
    # As the browser sends it: with what the page itself has as its form.
    client.logout()
    hidden = page.context.get("next")
    form = {"username": "reza", "password": PASSWORD} | ({"next": hidden} if hidden else {})
    answered = client.post(address, form, follow=True)
    assert (answered.status_code, answered.redirect_chain) == (200, [("/admin/", 302)])


def test_the_login_leads_nowhere_else(db: None, client: Client) -> None:
    User.objects.create_superuser("reza", password=PASSWORD)
    form = {"username": "reza", "password": PASSWORD}
    assert client.post("/admin/login/?next=https://evil.example/", form)["Location"] == "/admin/"
    client.logout()
    assert client.post("/admin/login/?next=/admin/sms/rate/", form)["Location"] == "/admin/sms/rate/"
