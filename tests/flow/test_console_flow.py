"""The console as a new user meets it, in a browser, with every process running."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, User

from apps.balance.models import Account, LedgerEntry
from apps.balance.selectors import accounts_off
from apps.console.models import Act
from apps.console.roles import roles_make
from apps.devservices.gateway import Gateway
from smsgateway import ids
from tests.support.browser import chromium
from tests.support.callbacks import Endpoint
from tests.support.waiting import wait_for

pytestmark = [
    pytest.mark.browser,
    pytest.mark.flow,
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(600),
]
PASSWORD = "seven-horses-ran"
WAIT = 60_000  # milliseconds


@pytest.fixture
def keys_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEYS", "required")


@pytest.fixture
def people(transactional_db: None) -> None:
    roles_make(apps)
    for role in ("Administrator", "Support"):
        user = User.objects.create_user(role.lower(), password=PASSWORD, is_staff=True)
        user.groups.add(Group.objects.get(name=role))


def call(method: str, url: str, key: str, body: Any) -> Any:
    """A request of the customer's own, with its key."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers, method=method)
    with urllib.request.urlopen(request, timeout=60) as answered:
        return json.loads(answered.read())


def log_in(page: Any, address: str, name: str) -> None:
    page.goto(f"{address}/admin/")
    page.fill("[name=username]", name)
    page.fill("[name=password]", PASSWORD)
    page.click("button[type=submit]")
    page.get_by_role("link", name="Messages today").wait_for()


def test_a_new_user_gets_a_customer_to_send_and_support_can_only_look(
    keys_required: None, people: None, gateway: Gateway
) -> None:
    address = gateway.api_url
    with Endpoint() as endpoint, chromium() as browser:
        page = browser.new_page()
        page.set_default_timeout(WAIT)
        log_in(page, address, "administrator")

        page.locator("a[href='/admin/customers/customer/']").first.click()
        page.locator("a[href^='/admin/customers/customer/add/']").first.click()
        page.fill("[name=name]", "Bazaar")
        page.get_by_role("button", name="Save", exact=True).click()
        page.get_by_text("Bazaar was created").wait_for()
        customer_page = page.url
        customer_id = customer_page.rstrip("/").rpartition("/")[2]

        page.get_by_role("link", name="API keys (0)").click()
        page.get_by_role("link", name="New key").click()
        page.fill("[name=label]", "shop")
        page.get_by_role("button", name="Create key").click()
        key = page.inner_text("#api-key")
        page.goto(f"{customer_page}keys/")
        assert key not in page.content()

        page.goto(customer_page)
        page.get_by_role("link", name="Top up").click()
        page.fill("[name=amount]", "1,000.50")
        page.fill("[name=reference]", "INV-7")
        page.get_by_role("button", name="Review").click()
        page.get_by_text("1,000.50 IRR").first.wait_for()
        # Pressed twice: before the first answer is there, the form goes a second time from another window.
        form = page.evaluate("new URLSearchParams(new FormData(document.querySelector('form.c-form'))).toString()")
        send = {"headers": {"Content-Type": "application/x-www-form-urlencoded", "Referer": page.url}, "data": form}
        page.get_by_role("button", name="Top up by").dblclick()
        page.get_by_text("booked").first.wait_for()
        page.request.post(page.url + "topup/", **send)
        page.goto(customer_page)
        assert page.inner_text("#balance") == "1,000.50"

        call("PUT", f"{address}/v1/customers/{customer_id}/callback", key, {"url": endpoint.url})
        body = {"customer_id": customer_id, "to": "09121230001", "text": "Your order is on its way"}
        message_id = call("POST", f"{address}/v1/sms/send", key, body)["id"]
        page.goto(f"{address}/admin/console/messages/?q={message_id}")
        page.locator("li[data-status=delivered]").wait_for()  # the page looks again by itself
        assert [step.get_attribute("data-status") for step in page.locator(".c-timeline li").all()] == [
            "accepted",
            "submitted",
            "delivered",
        ]

        wait_for(lambda: endpoint.received, "the callback")
        page.reload()
        page.get_by_role("link", name="message.delivered").click()
        page.get_by_role("button", name="Send again").click()
        page.get_by_text("The callback is sent again").wait_for()
        wait_for(lambda: len(endpoint.received) == 2, "the callback again")
        assert len({received.id for received in endpoint.received}) == 1

        # Charts are drawn on a canvas: their texts are lighter in the dark too. Lists tell no number.
        dark = browser.new_context(color_scheme="dark").new_page()
        dark.set_default_timeout(WAIT)
        log_in(dark, address, "support")
        dark.wait_for_function(
            "(() => { const style = getComputedStyle(document.documentElement);"
            " const soft = style.getPropertyValue('--color-base-400').trim();"
            " const charts = Object.values(Chart.instances);"
            " return charts.length && charts.every((chart) => chart.options.scales.x.ticks.color === soft) })()"
        )
        page.goto(f"{address}/admin/customers/customer/?q=Bazaar")
        assert "results" not in page.inner_text("h1")

        support = browser.new_context().new_page()
        support.set_default_timeout(WAIT)
        log_in(support, address, "support")
        support.goto(customer_page)
        assert support.get_by_role("link", name="Top up").count() == 0
        assert support.goto(f"{customer_page}topup/").status == 403
        crafted = support.request.post(
            f"{customer_page}topup/",
            form={
                "amount": "5",
                "reference": "INV-8",
                "csrfmiddlewaretoken": next(
                    cookie["value"] for cookie in support.context.cookies() if cookie["name"] == "csrftoken"
                ),
            },
            headers={"Referer": customer_page},
        )
        assert crafted.status == 403
        support.goto(f"{address}/admin/console/messages/{message_id}/")
        support.locator("li[data-status=delivered]").wait_for()

    customer = ids.from_text(customer_id)
    kinds = LedgerEntry.objects.filter(customer_id=customer).order_by("entry").values_list("kind", "amount")
    assert list(kinds) == [("topup", 100_050), ("charge", -100)]
    assert Account.objects.get(customer_id=customer).balance == 99_950
    assert not accounts_off()
    acts = Act.objects.order_by("id").values_list("act", "user_name")
    assert set(acts.filter(act="login")) == {("login", "administrator"), ("login", "support")}
    assert list(acts.exclude(act="login")) == [
        (act, "administrator") for act in ("customer.add", "key.create", "balance.topup", "callback.replay")
    ]
