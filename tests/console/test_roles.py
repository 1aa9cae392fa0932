"""Who may open what: for each role each page, by GET and by POST, checked on the server."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.utils import IntegrityError
from django.test import Client

from apps.console.models import Act
from apps.customers.keys import key_create
from apps.sms.models import Callback, Rate
from smsgateway import ids
from tests.support.callbacks import settle
from tests.support.console import Person
from tests.support.customers import MakeCustomer

EVERYBODY = {"Support", "Finance", "Administrator"}
ADMINISTRATOR = {"Administrator"}
MONEY = {"Finance", "Administrator"}
REPLAY = {"Support", "Administrator"}
# `{c}`: a customer, `{m}`: a message, `{b}`: a callback, `{k}`: the prefix of a key.
PAGES = {
    "/admin/": EVERYBODY,
    "/admin/customers/customer/": EVERYBODY,
    "/admin/customers/customer/add/": ADMINISTRATOR,
    "/admin/console/customers/{c}/": EVERYBODY,
    "/admin/console/customers/{c}/status/": ADMINISTRATOR,
    "/admin/console/customers/{c}/topup/": MONEY,
    "/admin/console/customers/{c}/adjust/": MONEY,
    "/admin/console/customers/{c}/low-balance/": MONEY,
    "/admin/console/customers/{c}/ledger/": EVERYBODY,
    "/admin/console/customers/{c}/keys/": EVERYBODY,
    "/admin/console/customers/{c}/keys/new/": ADMINISTRATOR,
    "/admin/console/keys/{k}/rotate/": ADMINISTRATOR,
    "/admin/console/keys/{k}/revoke/": ADMINISTRATOR,
    "/admin/console/messages/": EVERYBODY,
    "/admin/console/messages/{m}/": EVERYBODY,
    "/admin/console/stuck/": EVERYBODY,
    "/admin/console/callbacks/": EVERYBODY,
    "/admin/console/callbacks/{b}/": EVERYBODY,
    "/admin/console/callbacks/{b}/replay/": REPLAY,
    "/admin/console/dead-letters/": EVERYBODY,
    "/admin/console/dead-letters/0:0/replay/": REPLAY,
    "/admin/console/operators/": EVERYBODY,
    "/admin/console/rates/import/": ADMINISTRATOR,
    "/admin/console/rates/export/": EVERYBODY,
    "/admin/console/audit/": MONEY,
    "/admin/console/audit/{a}/": MONEY,
    "/admin/sms/rate/": EVERYBODY,
    "/admin/sms/rate/add/": ADMINISTRATOR,
    "/admin/sms/route/": EVERYBODY,
    "/admin/sms/route/add/": ADMINISTRATOR,
    "/admin/auth/user/": ADMINISTRATOR,
    "/admin/auth/user/add/": ADMINISTRATOR,
    "/admin/auth/group/": ADMINISTRATOR,
}


@pytest.fixture
def addresses(make_customer: MakeCustomer) -> dict[str, set[str]]:
    customer_id = make_customer()
    message_id = settle(customer_id, callback_url="http://127.0.0.1:9/")[0]
    key, _ = key_create(customer_id=customer_id)
    callback = Callback.objects.get()
    names = {
        "c": ids.to_text(customer_id),
        "m": ids.to_text(message_id),
        "b": ids.to_text(callback.id),
        "k": key.prefix,
        "a": ids.to_text(Act.objects.create(user_id=1, user_name="nika", act="rate.add", subject="98: 0.60 IRR").id),
    }
    return {page.format(**names): roles for page, roles in PAGES.items()}


@pytest.mark.parametrize("role", sorted(EVERYBODY))
def test_each_role_opens_its_pages_and_no_other(person: Person, addresses: dict[str, set[str]], role: str) -> None:
    client = person(role)
    for page, roles in addresses.items():
        for send in (client.get, client.post):
            status = send(page).status_code
            if role in roles:
                assert status != 403, (page, send)
                assert status < 500
            else:
                assert status == 403, (page, send)


def test_a_login_of_staff_is_required(db: None, addresses: dict[str, set[str]]) -> None:
    stranger = Client()
    stranger.force_login(User.objects.create_user("reza"))
    for page in addresses:
        for client in (Client(), stranger):
            for send in (client.get, client.post):
                answered = send(page)
                assert (answered.status_code, answered["Location"].partition("?")[0]) == (302, "/admin/login/"), page


def test_support_cannot_change_a_rate_by_a_crafted_form(person: Person, db: None) -> None:
    rate = Rate.objects.create(prefix="98", price=5)
    support = person("Support")
    assert support.post(f"/admin/sms/rate/{rate.pk}/change/", {"prefix": "98", "price": 1}).status_code == 403
    assert support.post(f"/admin/sms/rate/{rate.pk}/delete/", {"post": "yes"}).status_code == 403
    chosen = {"action": "delete_selected", "_selected_action": rate.pk, "post": "yes"}
    support.post("/admin/sms/rate/", chosen)
    assert Rate.objects.get().price == 5


def test_what_is_done_with_djangos_forms_is_in_the_audit_log(person: Person, db: None) -> None:
    administrator = person("Administrator")
    administrator.post("/admin/sms/rate/add/", {"prefix": "98", "customer": "", "price_major": "5"})
    rate = Rate.objects.get()
    administrator.post(f"/admin/sms/rate/{rate.pk}/change/", {"prefix": "98", "customer": "", "price_major": 7})
    other = Rate.objects.create(prefix="44", price=1)
    chosen = {"action": "delete_selected", "_selected_action": [rate.pk, other.pk], "post": "yes"}
    administrator.post("/admin/sms/rate/", chosen)
    acts = [(act.act, act.subject) for act in Act.objects.order_by("id")]
    assert acts[:2] == [("rate.add", "98: 5.00 IRR"), ("rate.change", "98: 7.00 IRR")]
    assert sorted(acts[2:]) == [("rate.delete", "44: 0.01 IRR"), ("rate.delete", "98: 7.00 IRR")]
    assert not Rate.objects.exists()
    shown = administrator.get("/admin/console/audit/").context["table"]["rows"]
    assert len(shown) == 4
    assert all(row[1] == "administrator" for row in shown)


def test_the_audit_log_is_never_changed(db: None) -> None:
    Act.objects.create(user_id=1, user_name="nika", act="balance.topup", subject="x")
    for change in ("UPDATE console_act SET why = 'another'", "DELETE FROM console_act"):
        with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(change)
    assert Act.objects.get().why == ""
