"""The audit log: what each act changed, with the values before and after."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from django.utils.html import strip_tags

from apps.console.models import Act
from apps.console.pages.audit_log import changes_of
from apps.customers.models import Customer
from apps.sms.models import Rate, Route
from smsgateway import ids
from tests.support.console import Person
from tests.support.customers import MakeCustomer

pytestmark = pytest.mark.django_db


def newest() -> Act:
    return Act.objects.latest("id")


def changed() -> list[tuple[str, str, str]]:
    """What the newest act changed."""
    return [(entry[0], entry[1], entry[2]) for entry in changes_of(newest())]


def opposite(changes: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    return [(field, after, before) for field, before, after in changes]


def row(client: Client) -> str:
    """What the log shows of the newest act."""
    first = client.get("/admin/console/audit/").context["table"]["rows"][0]
    return " | ".join(" ".join(strip_tags(str(cell)).split()) for cell in first[2:])


def save(client: Client, path: str, form: dict[str, Any]) -> None:
    answered = client.post(path, form)
    assert answered.status_code == 302, answered.context["adminform"].form.errors


def there_and_back(
    client: Client, path: str, first: dict[str, Any], second: dict[str, Any]
) -> list[tuple[str, str, str]]:
    """Change it from the first to the second and back again; what the first change noted."""
    save(client, path, second)
    there, shown_there = changed(), row(client)
    save(client, path, first)
    back, shown_back = changed(), row(client)
    assert there
    assert sorted(back) == sorted(opposite(there))
    assert shown_there != shown_back
    return there


def test_a_rates_price(person: Person) -> None:
    administrator = person("Administrator")
    save(administrator, "/admin/sms/rate/add/", {"prefix": "98", "customer": "", "price_major": "0.60"})
    assert ("price in IRR", "", "0.60 IRR") in changed()
    path = f"/admin/sms/rate/{Rate.objects.get().pk}/change/"
    dear, cheap = ({"prefix": "98", "customer": "", "price_major": price} for price in ("0.60", "60.00"))
    assert there_and_back(administrator, path, dear, cheap) == [("price in IRR", "0.60 IRR", "60.00 IRR")]
    assert "price in IRR: 60.00 IRR → 0.60 IRR" in row(administrator)
    chosen = {"action": "delete_selected", "_selected_action": [Rate.objects.get().pk], "post": "yes"}
    administrator.post("/admin/sms/rate/", chosen)
    assert sorted(changed()) == [("prefix", "98", ""), ("price", "0.60 IRR", "")]


def test_a_rates_customer_by_name(person: Person, make_customer: MakeCustomer) -> None:
    customer = Customer.objects.get(id=make_customer(name="Bazaar"))
    rate = Rate.objects.create(prefix="98", price=5)
    nobody, theirs = ({"prefix": "98", "customer": owner, "price_major": "0.05"} for owner in ("", str(customer.pk)))
    there = there_and_back(person("Administrator"), f"/admin/sms/rate/{rate.pk}/change/", nobody, theirs)
    assert there == [("customer", "", str(customer))]


def test_a_customers_limits_and_refunds(person: Person, make_customer: MakeCustomer) -> None:
    customer_id = make_customer(pace=100, name="Bazaar")
    form = {"name": "Bazaar", "email": "", "phone": "", "messages_per_minute": ""}
    before = form | {"segments_per_second": "100", "refund_on": Customer.objects.get(id=customer_id).refund_on}
    after = form | {"segments_per_second": "7", "messages_per_minute": "90", "refund_on": before["refund_on"][1:]}
    path = f"/admin/customers/customer/{customer_id}/change/"
    there = there_and_back(person("Administrator"), path, before, after)
    assert ("segments per second", "100", "7") in there
    assert ("messages per minute", "", "90") in there
    assert (f"refunded when: {before['refund_on'][0]}", "yes", "no") in there


def route_form(prefixes: str, *targets: tuple[str, int, str]) -> dict[str, Any]:
    form: dict[str, Any] = {"rank": 1, "enabled": "on", "note": "", "prefixes": prefixes, "carrier": "", "customer": ""}
    form |= {"sender": "", "targets-TOTAL_FORMS": len(targets), "targets-MIN_NUM_FORMS": 1}
    form["targets-INITIAL_FORMS"] = sum(bool(key) for _, _, key in targets)
    for number, (operator, weight, key) in enumerate(targets):
        form |= {f"targets-{number}-operator": operator, f"targets-{number}-weight": weight}
        form |= {f"targets-{number}-preference": 1, f"targets-{number}-id": key, f"targets-{number}-route": ""}
    return form


def test_a_routes_prefixes_and_targets(person: Person) -> None:
    administrator = person("Administrator")
    save(administrator, "/admin/sms/route/add/", route_form("98912", ("mci", 1, "")))
    assert ("prefixes: 98912", "no", "yes") in changed()
    assert ("route target mci: weight", "", "1") in changed()
    route = Route.objects.get()
    path, key = f"/admin/sms/route/{route.pk}/change/", str(route.targets.get().pk)
    there = there_and_back(
        administrator, path, route_form("98912", ("mci", 1, key)), route_form("98913", ("mci", 9, key))
    )
    assert sorted(there) == [
        ("prefixes: 98912", "yes", "no"),
        ("prefixes: 98913", "no", "yes"),
        ("route target mci: weight", "1", "9"),
    ]
    save(administrator, path, route_form("98912", ("mci", 1, key), ("irancell", 4, "")))
    assert ("route target irancell: weight", "", "4") in changed()
    other = str(route.targets.get(operator="irancell").pk)
    removal = route_form("98912", ("mci", 1, key), ("irancell", 4, other)) | {"targets-1-DELETE": "on"}
    save(administrator, path, removal)
    assert ("route target irancell: weight", "4", "") in changed()
    administrator.post(f"/admin/sms/route/{route.pk}/delete/", {"post": "yes"})
    assert ("prefixes: 98912", "yes", "no") in changed()
    assert ("route target mci: weight", "1", "") in changed()


def test_the_roles_of_a_user_and_the_permissions_of_a_role(person: Person) -> None:
    administrator = person("Administrator")
    finance = Group.objects.get(name="Finance")
    user = User.objects.create_user("nika", password="kept-to-herself-9")
    form = {"username": "nika", "first_name": "", "last_name": "", "email": "", "is_active": "on"}
    form |= {"date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"}
    administrator.post(f"/admin/auth/user/{user.pk}/change/", form)
    path = f"/admin/auth/user/{user.pk}/change/"
    assert there_and_back(administrator, path, form, form | {"groups": [finance.pk], "is_staff": "on"}) == [
        ("staff status", "no", "yes"),
        ("groups: Finance", "no", "yes"),
    ]
    permission = Permission.objects.get(codename="topup_account")
    without = [each.pk for each in finance.permissions.exclude(pk=permission.pk)]
    role = {"name": "Finance", "permissions": [*without, permission.pk]}
    role |= {"rule-TOTAL_FORMS": 0, "rule-INITIAL_FORMS": 0}
    path = f"/admin/auth/group/{finance.pk}/change/"
    assert there_and_back(administrator, path, role, role | {"permissions": without}) == [
        (f"permissions: {permission}", "yes", "no")
    ]


def test_a_password_is_never_in_it(person: Person) -> None:
    administrator = person("Administrator")
    secret = "kept-to-herself-9"
    form = {"username": "nika", "password1": secret, "password2": secret, "usable_password": "true"}
    save(administrator, "/admin/auth/user/add/", form)
    user = User.objects.get(username="nika")
    assert ("password", "", "set") in changed()
    other = {"password1": secret + "x", "password2": secret + "x", "usable_password": "true"}
    administrator.post(f"/admin/auth/user/{user.pk}/password/", other)
    assert ("password", "", "set") in changed()
    administrator.post(f"/admin/auth/user/{user.pk}/delete/", {"post": "yes"})
    assert newest().act == "user.delete"
    written = str(list(Act.objects.values_list("details", "subject")))
    assert secret not in written
    assert user.password not in written


def test_a_threshold_and_a_status(person: Person, make_customer: MakeCustomer) -> None:
    page = f"/admin/console/customers/{ids.to_text(make_customer())}/"
    finance, administrator = person("Finance"), person("Administrator")
    for threshold, expected in (("5", ("", "5.00 IRR")), ("7.5", ("5.00 IRR", "7.50 IRR")), ("", ("7.50 IRR", "none"))):
        finance.post(f"{page}low-balance/", {"threshold": threshold})
        assert changed() == [("threshold", *expected)]
    for status, expected in (("suspended", ("active", "suspended")), ("active", ("suspended", "active"))):
        administrator.post(f"{page}status/", {"to": status, "why": "asked for"})
        assert changed() == [("status", *expected)]


def test_many_changes_are_on_a_page_of_their_own(person: Person) -> None:
    finance = person("Finance")
    changes = [[f"{number} for everybody", "0.01 IRR", "0.02 IRR"] for number in range(1, 31)]
    act = Act.objects.create(user_id=1, user_name="nika", act="rate.import", subject="x", details={"changes": changes})
    assert "all 30 changes" in row(finance)
    shown = finance.get(f"/admin/console/audit/{ids.to_text(act.id)}/")
    assert [list(map(str, cells)) for cells in shown.context["table"]["rows"]] == changes
    assert finance.get(f"/admin/console/audit/{ids.to_text(ids.new_id())}/").status_code == 404


@pytest.mark.parametrize(
    ("details", "shown"),
    [
        ({"changes": "Changed price."}, "changed: not recorded → Changed price."),
        ({"changes": [["", "98", 50, 60]]}, "98 for everybody: 50 minor units → 60 minor units"),
        ({"changes": [["", "", None, 60]]}, "all numbers for everybody: nothing → 60 minor units"),
        ({"changes": ""}, "–"),
        ({}, "–"),
    ],
)
def test_acts_of_earlier_versions_stay_readable(person: Person, details: dict[str, Any], shown: str) -> None:
    Act.objects.create(user_id=1, user_name="nika", act="rate.import", subject="x", details=details)
    assert shown in row(person("Finance"))
