"""The admin: who gets in, rates and routes edited by hand, customers to look at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from apps.customers.models import Customer
from apps.sms.models import Message, Rate, Route
from smsgateway import ids
from tests.support.console import PASSWORD, errors_of, route_form
from tests.support.customers import MakeCustomer
from tests.support.settings import COMPLETE, run

Post = Callable[..., Any]


@pytest.mark.parametrize(
    "path", ["/admin/", "/admin/sms/rate/", "/admin/sms/route/add/", "/admin/customers/customer/", "/admin/auth/user/"]
)
def test_nobody_gets_in_without_a_login(db: None, client: Client, path: str) -> None:
    answered = client.get(path)
    assert (answered.status_code, answered["Location"]) == (302, f"/admin/login/?next={path}")


def test_a_wrong_password_and_one_who_is_no_staff_are_refused(db: None, client: Client) -> None:
    User.objects.create_user("reza", password=PASSWORD)
    for password in (PASSWORD, "wrong"):
        answered = client.post("/admin/login/", {"username": "reza", "password": password})
        assert answered.status_code == 200
        assert answered.context["form"].errors
        assert client.get("/admin/").status_code == 302


def test_a_form_from_another_site_is_refused(staff: Client) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = staff.cookies
    assert strict.get("/admin/sms/rate/add/").status_code == 200
    assert strict.post("/admin/sms/rate/add/", {"prefix": "98", "price": 1}).status_code == 403
    assert not Rate.objects.exists()


@pytest.mark.parametrize(
    "path",
    [
        "/admin/",
        "/admin/sms/rate/?q=98",
        "/admin/sms/rate/?customer__isempty=1",
        "/admin/sms/rate/add/",
        "/admin/sms/route/?q=98",
        "/admin/sms/route/add/",
        "/admin/customers/customer/?q=x",
        "/admin/auth/user/",
        "/admin/auth/user/add/",
        "/admin/auth/group/add/",
        "/admin/search/?s=rate",
    ],
)
def test_every_page_draws(staff: Client, path: str) -> None:
    assert staff.get(path).status_code == 200


def test_its_static_files_are_served_and_what_is_around_it_stays_lean(staff: Client, db: None) -> None:
    page = staff.get("/admin/")
    assert b"/admin/static/unfold/css/styles.css" in page.content
    style = staff.get("/admin/static/unfold/css/styles.css")
    assert b"".join(style.streaming_content)
    style.close()
    assert (style.status_code, style["Content-Type"]) == (200, 'text/css; charset="utf-8"')
    assert page["X-Frame-Options"] == "DENY"
    assert staff.cookies["sessionid"]["path"] == "/admin/"
    outside = staff.get("/healthz")
    assert "X-Frame-Options" not in outside
    assert not hasattr(outside.wsgi_request, "session")


def test_a_rate_edited_here_is_charged_by_the_next_send_only(
    staff: Client, make_customer: MakeCustomer, post: Post
) -> None:
    customer_id = make_customer()

    def cost() -> int:
        body = {"customer_id": ids.to_text(customer_id), "to": "09121234567", "text": "hi"}
        return int(post("/v1/sms/send", body).json()["cost"])

    assert (
        staff.post("/admin/sms/rate/add/", {"prefix": "98912", "customer": "", "price_major": "0.70"}).status_code
        == 302
    )
    assert cost() == 70
    rate = Rate.objects.get()
    changed = staff.post(
        f"/admin/sms/rate/{rate.pk}/change/", {"prefix": "98912", "customer": "", "price_major": "0.90"}
    )
    assert changed.status_code == 302
    assert cost() == 90
    own = {"prefix": "98", "customer": str(customer_id), "price_major": "0.05"}
    assert staff.post("/admin/sms/rate/add/", own).status_code == 302
    assert cost() == 5
    accepted = Message.objects.filter(customer_id=customer_id).order_by("id")
    assert list(accepted.values_list("cost", flat=True)) == [70, 90, 5]
    assert staff.get(f"/admin/sms/rate/{rate.pk}/history/").status_code == 200


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"prefix": "0912", "price_major": 1}, "no E.164 number begins with 0; write 98912"),
        ({"prefix": "00989", "price_major": 1}, "write 989"),
        ({"prefix": "98x", "price_major": 1}, "is not digits of E.164"),
        ({"prefix": "98", "price_major": -1}, "between 0 and 1,000,000,000.00 IRR"),
        ({"prefix": "98", "price_major": 10**12}, "between 0 and 1,000,000,000.00 IRR"),
        ({"prefix": "44", "price_major": 2}, "already exists"),
    ],
)
def test_a_wrong_rate_is_refused(staff: Client, form: dict[str, Any], error: str) -> None:
    Rate.objects.create(prefix="44", price=1)
    answered = staff.post("/admin/sms/rate/add/", {"customer": ""} | form)
    assert answered.status_code == 200
    assert error in answered.context["adminform"].form.errors.as_text()
    assert Rate.objects.count() == 1


def test_a_route_with_all_it_can_have_is_kept_and_shown(staff: Client, make_customer: MakeCustomer) -> None:
    customer_id = make_customer(name="Bazaar")
    form = route_form(
        ("mci", 1, 70),
        ("irancell", 2, 1),
        prefixes="+98913 98990-98992,98990",
        carrier="mci",
        customer=str(customer_id),
        sender="Shop",
        rank=50,
        note="try",
    )
    answered = staff.post("/admin/sms/route/add/", form)
    assert answered.status_code == 302, errors_of(answered)
    made = Route.objects.get()
    assert (made.prefixes, made.carrier, made.customer_id) == (["98913", "98990", "98991", "98992"], "mci", customer_id)
    assert (made.sender, made.rank, made.note, made.enabled) == ("Shop", 50, "try", True)
    assert list(made.targets.values_list("operator", "preference", "weight")) == [("mci", 1, 70), ("irancell", 2, 1)]
    listed = staff.get("/admin/sms/route/").content.decode()
    assert "to 98913, 98990, 98991, 98992; of mci" in listed
    assert "mci (70), then irancell (1)" in listed
    shown = staff.get(f"/admin/sms/route/{made.pk}/change/").content.decode()
    assert 'value="98913, 98990, 98991, 98992"' in shown
    assert 'value="irancell" selected' in shown


@pytest.mark.parametrize(
    ("form", "error"),
    [
        (route_form(), "at least 1"),
        (route_form(("mci", 1, 1), prefixes="98x"), "'98x' is neither a prefix"),
        (route_form(("mci", 1, 1), prefixes="98912, 0912"), "no E.164 number begins with 0; write 98912"),
        (route_form(("mci", 1, 1), prefixes="00989"), "write 989"),
        (route_form(("mci", 1, 1), prefixes="0912-0914"), "write 98912"),
        (route_form(("mci", 1, 1), prefixes="98912-"), "neither a prefix"),
        (route_form(("mci", 1, 1), sender="فروشگاه"), "U+0641"),
        (route_form(("mci", 1, 1), sender="+"), "3 to 15 digits"),
        (route_form(("mci", 1, 1), prefixes="98914-98912"), "the lower one first"),
        (route_form(("mci", 1, 1), prefixes="9891-98912"), "as many digits"),
        (route_form(("mci", 1, 1), prefixes="98910000-98920000"), "more than 1000 prefixes"),
        (route_form(("mci", 1, 1), prefixes="1000-1999, 3"), "more than 1000 prefixes"),
        (route_form(("smsc9", 1, 1)), "No operator connection is named 'smsc9'. Configured are: irancell, mci."),
        (route_form(("", 1, 5)), "This field is required"),
        (route_form(("mci", 1, 1), carrier="vodafone"), "No operator connection is named 'vodafone'"),
        (route_form(("mci", 1, 0)), "greater than or equal to 1"),
        (route_form(("mci", 1, 1001)), "less than or equal to 1000"),
        (route_form(("mci", -1, 1)), "greater than or equal to 0"),
        (route_form(("mci", 1, 1), ("mci", 2, 1)), "Please correct the duplicate data"),
        (route_form(("mci", 1, 1), rank=-1), "greater than or equal to 0"),
        (route_form(("mci", 1, 1), sender="a" * 16), "at most 11 places"),
    ],
)
def test_a_wrong_route_is_refused(staff: Client, form: dict[str, Any], error: str) -> None:
    assert error in errors_of(staff.post("/admin/sms/route/add/", form))
    assert not Route.objects.exists()


def test_pasted_prefixes_and_senders_are_read_as_numbers_are(staff: Client, db: None) -> None:
    form = route_form(("mci", 1, 1), prefixes="\u200e+۹۸۹۱۳\u200f، 98990–98991\u00a0", sender="\u00a0+۹۸۱۰۰")
    assert staff.post("/admin/sms/route/add/", form).status_code == 302
    made = Route.objects.get()
    assert (made.prefixes, made.sender) == (["98913", "98990", "98991"], "+98100")
    assert staff.post("/admin/sms/rate/add/", {"prefix": "\u202a+۹۸۹۱۲\u202c", "price_major": 1}).status_code == 302
    assert Rate.objects.get().prefix == "98912"


def test_a_prefix_of_earlier_versions_is_shown_as_what_it_is_and_can_be_corrected(staff: Client, db: None) -> None:
    rate, route = Rate.objects.create(prefix="0912", price=1), Route.objects.create(prefixes=["0912"])
    route.targets.create(operator="mci")
    assert "0912 (matches no number)" in staff.get("/admin/sms/rate/").content.decode()
    assert "0912 (matches no number)" in staff.get("/admin/sms/route/").content.decode()
    page = f"/admin/sms/rate/{rate.pk}/change/"
    assert "write 98912" in errors_of(staff.post(page, {"prefix": "0912", "price_major": 2}))
    assert staff.post(page, {"prefix": "98912", "price_major": 2}).status_code == 302
    page = f"/admin/sms/route/{route.pk}/change/"
    assert "write 98912" in errors_of(staff.post(page, route_form(("mci", 1, 1), existing=route, prefixes="0912")))
    assert staff.post(page, route_form(("mci", 1, 1), existing=route, prefixes="98912")).status_code == 302


def test_a_connection_that_is_gone_is_shown_and_must_be_replaced(staff: Client, db: None) -> None:
    made = Route.objects.create()
    made.targets.create(operator="smsc9")
    page = f"/admin/sms/route/{made.pk}/change/"
    assert "smsc9 (not configured)" in staff.get(page).content.decode()
    # As a browser sends it back; a weight is changed besides.
    assert "No operator connection" in errors_of(staff.post(page, route_form(("smsc9", 1, 2), existing=made)))
    assert staff.post(page, route_form(("mci", 1, 2), existing=made)).status_code == 302
    assert list(made.targets.values_list("operator", "weight")) == [("mci", 2)]


def test_customers_are_offered_by_name_and_id(staff: Client, make_customer: MakeCustomer) -> None:
    bazaar, other = make_customer(name="Bazaar"), make_customer(name="Other")

    def offered(term: str) -> list[str]:
        query = {"term": term, "app_label": "sms", "model_name": "rate", "field_name": "customer"}
        return [found["id"] for found in staff.get("/admin/autocomplete/", query).json()["results"]]

    assert offered("bAZ") == [str(bazaar)]
    assert offered(ids.to_text(other)) == [str(other)]
    assert ids.to_text(bazaar) in staff.get("/admin/customers/customer/").content.decode()
    assert staff.post(f"/admin/customers/customer/{bazaar}/delete/", {"post": "yes"}).status_code == 403
    assert Customer.objects.filter(id=bazaar).exists()


LIST_URLS = """
import sys, django; django.setup()
from django.conf import settings
from django.urls import get_resolver, is_valid_path
routes = [str(found.pattern) for found in get_resolver().url_patterns]
serves_api = bool(is_valid_path("/v1/openapi.json"))
print("admin/" in routes, serves_api, settings.MIDDLEWARE[1:], "apps.console.admin" in sys.modules)
"""


@pytest.mark.parametrize(
    ("service", "environment", "expected"),
    [
        ("api", "development", "True True ['apps.console.middleware.admin_only'] True"),
        ("admin", "production", "True False ['apps.console.middleware.admin_only'] True"),
        ("api", "production", "False True [] False"),
        ("reporting", "development", "False True [] False"),
    ],
)
def test_only_the_admin_service_and_a_developers_api_serve_it(service: str, environment: str, expected: str) -> None:
    ended = run(
        *("-c", LIST_URLS),
        **COMPLETE,
        DJANGO_SETTINGS_MODULE="smsgateway.settings",
        SERVICE=service,
        ENVIRONMENT=environment,
    )
    assert ended.stdout.strip() == expected, ended.stderr
