"""The console by keyboard alone, in a real browser: menu and log-out at the widths of phones, tablets and desks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished
from django.db import connections

from tests.support.browser import chromium
from tests.support.console import PASSWORD
from tests.support.gunicorn import serving

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

WIDTHS = [380, 1024, 1279, 1280, 1600]
NARROW = [width for width in WIDTHS if width < 1280]
MOST_TABS = 60


def _leave_no_connection(**_signal: object) -> None:
    """The service's threads keep theirs for the next request, and end with the test."""
    connections.close_all()


@pytest.fixture
def address(transactional_db: None) -> Iterator[str]:
    User.objects.create_superuser("reza", password=PASSWORD)
    request_finished.connect(_leave_no_connection)
    with serving(WSGIHandler()) as port:
        yield f"http://127.0.0.1:{port}"
    request_finished.disconnect(_leave_no_connection)


@contextmanager
def logged_in(address: str, width: int) -> Iterator[Any]:
    """The start page of somebody who has logged in by keyboard."""
    with chromium() as browser:
        page = browser.new_page(viewport={"width": width, "height": 900})
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(f"{address}/admin/login/")
        page.focus("[name=username]")
        page.keyboard.type("reza")
        page.keyboard.press("Tab")
        page.keyboard.type(PASSWORD)
        page.keyboard.press("Enter")
        page.wait_for_url(f"{address}/admin/")
        page.wait_for_load_state("load")
        yield page
        assert wrong == []


def tab_to(page: Any, selector: str) -> None:
    """Press Tab until the focus is on what the selector names, and people can see it there."""
    for _ in range(MOST_TABS):
        page.keyboard.press("Tab")
        if page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
            assert page.locator(":focus").is_visible()
            return
    pytest.fail(f"no key leads to {selector}")


@pytest.mark.parametrize("width", NARROW)
@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_the_menu_is_reached_by_keyboard(address: str, width: int, key: str) -> None:
    with logged_in(address, width) as page:
        assert page.locator("#nav-sidebar").is_hidden()
        tab_to(page, "[role=button][aria-label=Menu]")
        assert page.get_attribute(":focus", "aria-expanded") == "false"
        page.keyboard.press(key)
        page.wait_for_selector("#nav-sidebar", state="visible")
        tab_to(page, "#nav-sidebar a[href='/admin/console/operators/']")
        page.keyboard.press("Enter")
        page.wait_for_url(f"{address}/admin/console/operators/")


@pytest.mark.parametrize("width", NARROW)
def test_the_menu_takes_the_focus_and_gives_it_back(address: str, width: int) -> None:
    with logged_in(address, width) as page:
        tab_to(page, "[role=button][aria-label=Menu]")
        page.keyboard.press("Enter")
        page.wait_for_function("document.activeElement.closest('#nav-sidebar')")
        page.keyboard.press("Escape")
        page.wait_for_selector("#nav-sidebar", state="hidden")
        page.wait_for_function("document.activeElement.ariaLabel === 'Menu'")
        assert page.get_attribute(":focus", "aria-expanded") == "false"


@pytest.mark.parametrize("width", WIDTHS)
def test_people_log_out_by_keyboard(address: str, width: int) -> None:
    with logged_in(address, width) as page:
        if width < 1280:
            tab_to(page, "[role=button][aria-label=Menu]")
            page.keyboard.press("Enter")
        tab_to(page, "[role=button][aria-label='Your account']")
        page.keyboard.press("Enter")
        page.wait_for_selector("#logout-form button", state="visible")
        assert page.locator("[aria-label='Your account']").get_attribute("aria-expanded") == "true"
        tab_to(page, "#logout-form button")
        page.keyboard.press("Enter")
        page.wait_for_url(f"{address}/admin/logout/")
        page.goto(f"{address}/admin/")
        page.wait_for_selector("[name=username]")


def test_everything_clickable_is_reachable_by_keyboard(address: str) -> None:
    with logged_in(address, 1024) as page:
        for path in ("/admin/", "/admin/customers/customer/", "/admin/sms/route/add/", "/admin/console/messages/"):
            page.goto(f"{address}{path}")
            page.wait_for_load_state("load")
            left = page.evaluate(
                "[...document.querySelectorAll('[x-on\\\\:click]')]"
                ".filter((element) => element.tabIndex < 0 && element.checkVisibility())"
                ".map((element) => element.outerHTML)"
            )
            assert left == [], path
