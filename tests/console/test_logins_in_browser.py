"""Logins as people see them, in a real browser: the second factor, wrong codes, recovery codes, throttling, single
sign-on, and no page that its Content-Security-Policy breaks."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings as django_settings
from django.contrib.auth.models import Group, User
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished
from django.db import connections

from apps.console.models import Act, RoleRule, SignOn
from apps.console.roles import roles_make
from apps.console.sign_on import provider as sign_on_provider
from tests.support.browser import chromium
from tests.support.console import PASSWORD
from tests.support.gunicorn import serving
from tests.support.oidc_provider import CLIENT_ID, CLIENT_SECRET, provider
from tests.support.second_factor import code_of

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

PAGES = (
    "/admin/",
    "/admin/customers/customer/",
    "/admin/customers/customer/add/",
    "/admin/console/messages/",
    "/admin/console/callbacks/",
    "/admin/console/operators/",
    "/admin/sms/route/add/",
    "/admin/sms/rate/",
    "/admin/console/rates/import/",
    "/admin/console/audit/",
    "/admin/auth/user/",
    "/admin/auth/group/add/",
    "/admin/console/account/",
)


def _leave_no_connection(**_signal: object) -> None:
    """The service's threads keep theirs for the next request, and end with the test."""
    connections.close_all()


@pytest.fixture
def address(transactional_db: None) -> Iterator[str]:
    roles_make(apps)
    user = User.objects.create_user("nika", email="nika@gateway.example", password=PASSWORD, is_staff=True)
    user.groups.add(Group.objects.get(name="Administrator"))
    request_finished.connect(_leave_no_connection)
    with serving(WSGIHandler()) as port:
        yield f"http://127.0.0.1:{port}"
    request_finished.disconnect(_leave_no_connection)


@contextmanager
def opened(address: str) -> Iterator[Any]:
    """A page of a new browser, at the login. At its end nothing may have been refused by a policy."""
    with chromium() as browser:
        page = browser.new_page()
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda line: wrong.append(line.text) if "Content Security Policy" in line.text else None)
        page.goto(f"{address}/admin/login/")
        yield page
        assert wrong == []


def log_in(page: Any, password: str = PASSWORD) -> None:
    page.fill("[name=username]", "nika")
    page.fill("[name=password]", password)
    page.click("#login-form button[type=submit]")


def give(page: Any, code: str) -> None:
    page.fill("[name=code]", code)
    page.press("[name=code]", "Enter")


def test_a_second_factor_from_its_set_up_to_the_recovery_code(address: str) -> None:
    RoleRule.objects.create(role=Group.objects.get(name="Administrator"), second_factor=True)
    with opened(address) as page:
        log_in(page)
        page.wait_for_selector("#secret")
        picture = page.evaluate("document.querySelector('.c-qr').naturalWidth")
        assert picture > 100
        secret = page.inner_text("#secret")
        give(page, "000000" if code_of(secret) != "000000" else "111111")
        page.wait_for_selector("text=This code is wrong")
        assert page.inner_text("#secret") == secret
        # A wrong code delays the next by a second; until then right ones are refused too.
        for _ in range(20):
            give(page, code_of(secret, later=-1))
            page.wait_for_load_state("load")
            if page.query_selector(".c-codes"):
                break
        codes = page.locator(".c-codes code").all_inner_texts()
        assert len(codes) == 10
        page.click("text=I have stored them")
        page.wait_for_url(f"{address}/admin/")

    with opened(address) as page:
        log_in(page)
        page.wait_for_selector("[name=code]")
        page.goto(f"{address}/admin/console/messages/")
        assert "/login/second-factor/" in page.url
        give(page, code_of(secret))
        page.wait_for_url(f"{address}/admin/console/messages/")

    with opened(address) as page:
        log_in(page)
        give(page, codes[0])
        page.wait_for_url(f"{address}/admin/")
        assert page.locator("text=You have 9 recovery codes left").count() >= 1
        page.goto(f"{address}/admin/console/account/")
        assert page.locator("text=9").count() >= 1

    with opened(address) as page:
        log_in(page)
        give(page, codes[0])
        page.wait_for_selector("text=This code is wrong")


def test_too_many_failures_show_when_to_try_again(address: str, settings: Any) -> None:
    settings.AXES_FAILURE_LIMIT = 2
    with opened(address) as page:
        log_in(page, "wrong")
        page.wait_for_selector("text=Please enter")
        log_in(page, "wrong again")
        page.wait_for_selector("text=Too many failed logins")
        assert "Try again in 15 minutes" in page.inner_text("body")
        page.click("text=Back to the login")
        log_in(page)
        page.wait_for_selector("text=Too many failed logins")


def test_no_page_is_broken_by_its_policy(address: str) -> None:
    with opened(address) as page:
        log_in(page)
        page.wait_for_url(f"{address}/admin/")
        for path in PAGES:
            page.goto(f"{address}{path}")
            page.wait_for_load_state("load")
            assert page.evaluate("Boolean(window.Alpine)"), path


def test_an_inline_script_does_not_run(address: str) -> None:
    with chromium() as browser:
        page = browser.new_page()
        page.goto(f"{address}/admin/login/")
        page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.ran = 1\">')")
        page.evaluate("document.body.append(Object.assign(document.createElement('script'), {text: 'window.ran = 1'}))")
        page.wait_for_load_state("load")
        assert page.evaluate("window.ran === undefined")


@pytest.fixture
def single_sign_on(address: str, tmp_path: Path, settings: Any) -> Iterator[str]:
    people = {
        "mina": {"preferred_username": "mina", "groups": ["Support"], "email": "mina@shop.example"},
        "reza": {"preferred_username": "reza", "groups": ["office-party"]},
        "nika.of.directory": {"email": "nika@gateway.example", "email_verified": True},
    }
    callback = f"{address}/admin/console/login/sign-on/callback/"
    with provider(tmp_path, redirect=callback, people=people) as issuer:
        admin = dataclasses.replace(
            settings.CONFIG.admin,
            oidc_issuer=issuer,
            oidc_client_id=CLIENT_ID,
            oidc_client_secret=CLIENT_SECRET,
        )
        settings.CONFIG = dataclasses.replace(settings.CONFIG, admin=admin)
        settings.OIDC_RP_CLIENT_ID, settings.OIDC_RP_CLIENT_SECRET = CLIENT_ID, CLIENT_SECRET
        settings.AUTHENTICATION_BACKENDS = [
            *django_settings.AUTHENTICATION_BACKENDS,
            "apps.console.sign_on.backend.SignOnBackend",
        ]
        yield issuer
        sign_on_provider.forget()


def sign_on(page: Any, name: str) -> None:
    """Choose single sign-on, and be this person at the provider."""
    page.click("text=Single sign-on")
    page.fill("[name=login]", name)
    page.fill("[name=password]", "any")
    page.click("button[type=submit]")
    page.wait_for_selector("text=Continue")
    page.click("button[type=submit]")


def test_single_sign_on_creates_a_user_with_the_provider_s_role(address: str, single_sign_on: str) -> None:
    with opened(address) as page:
        sign_on(page, "mina")
        page.wait_for_url(f"{address}/admin/")
        assert page.goto(f"{address}/admin/console/messages/").status == 200
        assert page.goto(f"{address}/admin/auth/user/").status == 403
    user = User.objects.get(username="mina")
    assert [group.name for group in user.groups.all()] == ["Support"]
    assert SignOn.objects.get(user=user).issuer == single_sign_on
    assert Act.objects.filter(act="login", user_name="mina", why="single sign-on").count() == 1


def test_single_sign_on_links_a_verified_address_and_refuses_strangers(address: str, single_sign_on: str) -> None:
    with opened(address) as page:
        sign_on(page, "nika.of.directory")
        page.wait_for_url(f"{address}/admin/")
    assert SignOn.objects.get(subject="nika.of.directory").user.username == "nika"
    with opened(address) as page:
        sign_on(page, "reza")
        page.wait_for_selector("text=You have no role in this console")
    assert not User.objects.filter(username="reza").exists()
    assert Act.objects.filter(act="login.failed", why__contains="no role").count() == 1


def test_a_second_factor_is_asked_for_after_single_sign_on_unless_the_provider_suffices(
    address: str, single_sign_on: str, settings: Any
) -> None:
    RoleRule.objects.create(role=Group.objects.get(name="Support"), second_factor=True)
    with opened(address) as page:
        sign_on(page, "mina")
        page.wait_for_selector("#secret")
    settings.CONFIG = dataclasses.replace(
        settings.CONFIG, admin=dataclasses.replace(settings.CONFIG.admin, oidc_second_factor="provider")
    )
    with opened(address) as page:
        sign_on(page, "mina")
        page.wait_for_url(f"{address}/admin/")


def test_refused_single_sign_on_locks_nobody_out(address: str, single_sign_on: str, settings: Any) -> None:
    settings.AXES_FAILURE_LIMIT = 1
    with opened(address) as page:
        for _ in range(2):
            sign_on(page, "reza")
            page.wait_for_selector("text=You have no role in this console")
            page.context.clear_cookies()
            page.goto(f"{address}/admin/login/")
        sign_on(page, "mina")
        page.wait_for_url(f"{address}/admin/")
        page.goto(f"{address}/admin/console/login/sign-on/callback/?error=access_denied&state=forged")
        page.goto(f"{address}/admin/")
        assert page.url == f"{address}/admin/", "a link that names an error logs nobody out"


def test_a_forged_callback_logs_nobody_in(address: str, single_sign_on: str) -> None:
    with opened(address) as page:
        for query in ("code=a&state=b", "error=access_denied&state=b", ""):
            answer = page.goto(f"{address}/admin/console/login/sign-on/callback/?{query}")
            assert answer.status in (200, 400)
            page.goto(f"{address}/admin/")
            page.wait_for_selector("[name=username]")


def test_a_provider_that_is_away_leaves_the_password(address: str, settings: Any) -> None:
    admin = dataclasses.replace(
        settings.CONFIG.admin, oidc_issuer="http://127.0.0.1:9", oidc_client_id="x", oidc_client_secret="x"
    )
    settings.CONFIG = dataclasses.replace(settings.CONFIG, admin=admin)
    with opened(address) as page:
        page.click("text=Single sign-on")
        page.wait_for_selector("text=Single sign-on does not answer")
        log_in(page)
        page.wait_for_url(f"{address}/admin/")
