"""The dashboard in a real browser. With SCREENSHOTS=docs/images it retakes the screenshots."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
import os
import random
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished
from django.db import connections
from django.test import override_settings

from apps.customers.keys import key_create
from smsgateway import clickhouse, ids
from smsgateway.clickhouse import ClickHouse
from tests.support.browser import chromium
from tests.support.customers import MakeCustomer
from tests.support.events import accepted, message_id, refund, status, write
from tests.support.gunicorn import serving

pytestmark = pytest.mark.browser

WIDTHS = {380: 800, 1400: 900}
Open = Callable[..., Any]


@pytest.fixture
def traffic(database: ClickHouse, customer: UUID) -> dict[str, int]:
    """Six hours of two operators' messages, in waves; what they come to."""
    chance = random.Random(11)  # no secret
    now = dt.datetime.now(tz=dt.UTC)
    made: list[Any] = []
    counts = {"accepted": 0, "delivered": 0, "spend": 0, "refunded": 0}
    for minutes in range(355):
        start = now - dt.timedelta(minutes=minutes + 1)
        for _ in range(round(3 + 2.4 * math.sin(minutes / 28) + chance.random() * 2)):
            message = message_id(start - dt.timedelta(milliseconds=chance.randrange(50_000)))
            operator = chance.choices(["mci", "irancell", "rightel"], [6, 4, 1])[0]
            made.append(accepted(customer, message, operator=operator))
            counts["spend"] += made[-1].cost
            counts["accepted"] += 1
            if minutes < 2:
                continue
            end = chance.choices(["delivered", "undelivered", "failed", "expired"], [93, 4, 2, 1])[0]
            counts["delivered"] += end == "delivered"
            made.append(status(customer, message, "submitted", after=chance.randrange(60, 900)))
            taken = round(chance.lognormvariate(8.3, 0.5))
            ended = status(customer, message, end, after=1000 + taken)
            if end != "delivered":
                error = chance.choice(["unknown_subscriber", "absent_subscriber", "handset_full", "call_barred"])
                ended = msgspec.structs.replace(ended, error=error)
                given_back = refund(customer, message)
                counts["refunded"] += given_back.amount
                counts["spend"] -= given_back.amount
                made.append(given_back)
            made.append(ended)
    write(database, *made)
    return counts


def _leave_no_connection(**_signal: object) -> None:
    """The service's threads keep theirs for the next request, and end with the test."""
    connections.close_all()


@pytest.fixture
def service(database: ClickHouse) -> Iterator[str]:
    request_finished.connect(_leave_no_connection)
    with override_settings(ROOT_URLCONF="smsgateway.urls.reporting"), serving(WSGIHandler()) as port:
        yield f"http://127.0.0.1:{port}"
    request_finished.disconnect(_leave_no_connection)


@contextmanager
def a_page(browser: Any, *, width: int = 1400, scheme: str = "light") -> Iterator[Any]:
    """A page in which nothing may go wrong: no error of a script, nothing that the policy refuses."""
    context = browser.new_context(
        viewport={"width": width, "height": WIDTHS[width]},
        color_scheme=scheme,
        device_scale_factor=1,
        timezone_id="Asia/Tehran",
        locale="en-GB",
    )
    wrong: list[str] = []
    page = context.new_page()
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda line: wrong.append(line.text) if "Content Security Policy" in line.text else None)
    try:
        try:
            yield page
        finally:
            assert wrong == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"
    finally:
        context.close()


def picture(page: Any, name: str) -> None:
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=str(Path(folder) / f"dashboard-{name}.png"), full_page=True)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", list(WIDTHS))
def test_it_shows_the_customers_numbers(
    service: str, traffic: dict[str, int], customer: UUID, width: int, scheme: str
) -> None:
    with chromium() as browser, a_page(browser, width=width, scheme=scheme) as page:
        page.goto(f"{service}/#range=6h&customer={ids.to_text(customer)}")
        page.wait_for_selector("#spend canvas")
        assert page.inner_text("#t-accepted") == f"{traffic['accepted']:,}"
        assert f"{traffic['delivered']:,} delivered" in page.inner_text("#t-rate-note")
        spend, refunded = ((traffic[name] / 100) for name in ("spend", "refunded"))
        assert page.inner_text("#t-spend") == f"{spend:,.2f} IRR"
        assert page.inner_text("#t-spend-note") == f"{refunded:,.2f} IRR refunded"
        assert "minor" not in page.inner_text("body")
        assert page.inner_text("#t-time").endswith(" s")
        assert page.locator("#operators tbody tr").count() == 3
        assert page.inner_text("#operators tbody tr:first-child td:first-child") == "mci"
        assert 1 <= page.locator("#errors li").count() <= 4
        assert page.locator("#traffic canvas").is_visible()
        assert page.locator("#banner").is_hidden()
        assert page.inner_text("#updated").startswith("As of ")
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (background == "rgb(15, 21, 24)") == (scheme == "dark")
        picture(page, f"{width}-{scheme}")


@pytest.mark.parametrize(("currency", "shown"), [("JPY", "1,234 JPY"), ("KWD", "1.234 KWD"), ("IRR", "12.34 IRR")])
def test_money_has_the_decimals_of_its_currency(
    service: str, database: ClickHouse, customer: UUID, settings: Any, currency: str, shown: str
) -> None:
    sms = dataclasses.replace(settings.CONFIG.sms, currency=currency)
    settings.CONFIG = dataclasses.replace(settings.CONFIG, sms=sms)
    message = message_id(dt.datetime.now(tz=dt.UTC) - dt.timedelta(minutes=5))
    write(database, msgspec.structs.replace(accepted(customer, message), cost=1234))
    with chromium() as browser, a_page(browser) as page:
        page.goto(f"{service}/#range=1h&customer={ids.to_text(customer)}")
        page.wait_for_selector("#spend canvas")
        assert page.inner_text("#t-spend") == shown
        page.hover("#spend .u-over")
        assert f"{currency}, less refunds" in page.inner_text(".k-spend")


@pytest.mark.parametrize("span", ["7d", "30d"])
def test_the_first_hour_of_a_long_range_is_drawn(service: str, database: ClickHouse, customer: UUID, span: str) -> None:
    days = dt.timedelta(days=int(span[:-1]))
    now = dt.datetime.now(tz=dt.UTC)
    first = (now - days).replace(minute=0, second=0, microsecond=0)
    # Until half past the hour of UTC, which is a full hour in Tehran: these fall in the hour that the range cuts.
    write(database, *(accepted(customer, message_id(first + dt.timedelta(minutes=at))) for at in (1, 2, 29)))
    with chromium() as browser, a_page(browser) as page:
        page.clock.set_fixed_time(now)  # the hour must not end between the messages and the page
        with page.expect_response(lambda answer: "group_by=hour" in answer.url) as hours:
            page.goto(f"{service}/#range={span}&customer={ids.to_text(customer)}")
        page.wait_for_selector("#traffic canvas")
        rows = hours.value.json()["rows"]
        assert sum(row["accepted"] for row in rows) == 3 == int(page.inner_text("#t-accepted"))
        assert page.get_attribute("#traffic", "aria-label") == "3 messages, at most 3 per hour"


def test_a_zone_that_only_the_browser_knows_is_replaced_by_utc(
    service: str, traffic: dict[str, int], customer: UUID
) -> None:
    with chromium() as browser, a_page(browser) as page:
        page.add_init_script(
            "const own = Intl.DateTimeFormat.prototype.resolvedOptions;"
            "Intl.DateTimeFormat.prototype.resolvedOptions ="
            " function () { return { ...own.call(this), timeZone: 'Etc/Unknown' }; };"
        )
        page.goto(f"{service}/#range=6h&customer={ids.to_text(customer)}")
        page.wait_for_selector(f"#t-accepted:text-is('{traffic['accepted']:,}')")
        assert page.inner_text("#zone") == "UTC"
        assert page.locator("#banner").is_hidden()


@pytest.mark.parametrize("width", list(WIDTHS))
def test_without_messages_it_says_so(service: str, customer: UUID, width: int) -> None:
    with chromium() as browser, a_page(browser, width=width) as page:
        page.goto(f"{service}/#range=1h&customer={ids.to_text(customer)}")
        page.wait_for_selector("#t-accepted:text-is('0')")
        assert page.locator(".empty:visible").count() == 4
        assert page.locator("canvas").count() == 0
        assert page.locator("#banner").is_hidden()
        picture(page, f"{width}-empty")


@pytest.mark.parametrize("width", list(WIDTHS))
def test_with_clickhouse_down_it_says_so_and_keeps_its_numbers(
    service: str,
    traffic: dict[str, int],
    customer: UUID,
    away: ClickHouse,
    width: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with chromium() as browser, a_page(browser, width=width) as page:
        default = clickhouse.default
        monkeypatch.setattr(clickhouse, "default", lambda: away)
        answer = page.goto(f"{service}/#range=6h&customer={ids.to_text(customer)}")
        assert answer.status == 200
        page.wait_for_selector("#banner:not([hidden])")
        assert "Statistics are unavailable" in page.inner_text("#banner")
        monkeypatch.setattr(clickhouse, "default", default)
        page.click("[data-range='24h']")
        page.wait_for_selector("#traffic canvas")
        assert page.locator("#banner").is_hidden()
        monkeypatch.setattr(clickhouse, "default", lambda: away)
        page.click("[data-range='6h']")
        page.wait_for_selector("#banner:not([hidden])")
        assert re.search(r"The data shown is from .+ and covers 24 h\.", page.inner_text("#banner"))
        assert page.inner_text("#t-accepted") == f"{traffic['accepted']:,}"
        picture(page, f"{width}-away")


def test_after_a_failure_it_asks_again_soon(
    service: str, traffic: dict[str, int], customer: UUID, away: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    with chromium() as browser, a_page(browser) as page:
        page.clock.install()
        with monkeypatch.context() as without:
            without.setattr(clickhouse, "default", lambda: away)
            page.goto(f"{service}/#range=30d&customer={ids.to_text(customer)}")
            page.wait_for_selector("#banner:not([hidden])")
        page.clock.fast_forward(2_100)  # this range is refreshed every two minutes
        page.wait_for_selector(f"#t-accepted:text-is('{traffic['accepted']:,}')")
        assert page.locator("#banner").is_hidden()


def test_it_refreshes_by_itself_and_pauses(service: str, customer: UUID, database: ClickHouse) -> None:
    with chromium() as browser, a_page(browser) as page:
        page.clock.install()
        page.goto(f"{service}/#range=1h&customer={ids.to_text(customer)}")
        page.wait_for_selector("#t-accepted:text-is('0')")
        write(database, accepted(customer, message_id(dt.datetime.now(tz=dt.UTC) - dt.timedelta(minutes=1))))
        page.clock.fast_forward(16_000)
        page.wait_for_selector("#t-accepted:text-is('1')")
        page.click("#pause")
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.clock.fast_forward(120_000)
        page.wait_for_selector("#pause:text-is('Resume')")
        assert asked == []


@pytest.mark.django_db(transaction=True)
def test_with_keys_a_customer_opens_its_own_numbers_and_no_others(
    service: str, traffic: dict[str, int], settings: Any, make_customer: MakeCustomer, database: ClickHouse
) -> None:
    mine = make_customer(name="Mine")
    _, key = key_create(customer_id=mine)
    write(database, accepted(mine, message_id(dt.datetime.now(tz=dt.UTC) - dt.timedelta(minutes=2))))
    keys = dataclasses.replace(settings.CONFIG.api, keys="required", keys_cache=0.0)
    settings.CONFIG = dataclasses.replace(settings.CONFIG, api=keys)
    with chromium() as browser, a_page(browser, width=380) as page:
        page.goto(service)
        picture(page, "380-key")
        page.fill("#key", "sgw_00000000_" + "x" * 43)
        page.click("#sign-in button")
        page.wait_for_selector("#key-error:not([hidden])")
        assert "not valid" in page.inner_text("#key-error")
        page.fill("#key", key)
        page.click("#sign-in button")
        page.wait_for_selector("#t-accepted:text-is('1')")
        assert ids.to_text(mine) in page.inner_text("header")
        assert page.locator("#customer").count() == 0
        assert page.evaluate("document.cookie + JSON.stringify({...localStorage, ...sessionStorage})") == "{}"
        page.click("#sign-out")
        page.wait_for_selector("#sign-in")
