"""Logins of the console: recorded, refused after failures, ended by age, and with a second factor."""

from __future__ import annotations

import dataclasses
import datetime as dt
import io
import re
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import CommandError, call_command
from django.test import Client

from apps.console import second_factor
from apps.console.login_rules import SEEN, SINCE
from apps.console.models import Act, RoleRule
from smsgateway.metrics import CONSOLE_ACTS
from tests.support.console import PASSWORD, Person
from tests.support.second_factor import code_of

pytestmark = pytest.mark.django_db

ASK, NEW, ACCOUNT = (
    "/admin/console/login/second-factor/",
    "/admin/console/account/second-factor/",
    "/admin/console/account/",
)


@pytest.fixture(autouse=True)
def quick_passwords(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def nika(db: None) -> User:
    return User.objects.create_user("nika", password=PASSWORD, is_staff=True)


def log_in(password: str = PASSWORD, *, name: str = "nika", client: Client | None = None, **headers: str) -> Any:
    return (client or Client()).post(
        "/admin/login/?next=/admin/", {"username": name, "password": password}, headers=headers
    )


def require(role: str) -> None:
    RoleRule.objects.update_or_create(role=Group.objects.get(name=role), defaults={"second_factor": True})


def configured(settings: Any, **values: Any) -> None:
    settings.CONFIG = dataclasses.replace(settings.CONFIG, admin=dataclasses.replace(settings.CONFIG.admin, **values))


def acts() -> list[tuple[str, str, str, str]]:
    return [(act.act, act.user_name, act.subject, act.why) for act in Act.objects.order_by("id")]


def test_logins_failures_and_log_outs_are_in_the_audit_log(nika: User) -> None:
    client = Client()
    log_in("wrong", client=client)
    log_in("wrong", name="nobody", client=client)
    assert log_in(client=client).status_code == 302
    client.post("/admin/logout/")
    assert acts() == [
        ("login.failed", "nika", "from 127.0.0.1", "wrong name or password"),
        ("login.failed", "nobody", "from 127.0.0.1", "wrong name or password"),
        ("login", "nika", "from 127.0.0.1", "password"),
        ("logout", "nika", "from 127.0.0.1", ""),
    ]


def test_the_address_is_that_of_the_client_behind_our_proxies(nika: User, settings: Any) -> None:
    configured(settings, trusted_proxies=1)
    log_in("wrong", **{"X-Forwarded-For": "10.9.9.9, 203.0.113.7"})
    assert acts()[0][2] == "from 203.0.113.7"


@pytest.mark.breaks("ConsoleLoginsFail")
def test_a_failed_login_is_counted(nika: User, django_capture_on_commit_callbacks: Any) -> None:
    before = CONSOLE_ACTS.labels("login.failed")._value.get()
    with django_capture_on_commit_callbacks(execute=True):
        log_in("wrong")
    assert CONSOLE_ACTS.labels("login.failed")._value.get() == before + 1


def test_after_failures_a_name_is_locked_for_its_address_alone(nika: User, settings: Any) -> None:
    settings.AXES_FAILURE_LIMIT = 3
    configured(settings, trusted_proxies=1)
    here, there = {"X-Forwarded-For": "203.0.113.7"}, {"X-Forwarded-For": "203.0.113.8"}
    statuses = [log_in("wrong", **here).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    refused = log_in(**here)
    assert (refused.status_code, refused["Retry-After"]) == (429, "900")
    assert b"Too many failed logins" in refused.content
    assert acts()[-1][3] == "wrong name or password; locked"
    assert len(acts()) == 3, "attempts that are refused untried must not fill the audit log"
    assert log_in(**there).status_code == 302
    settings.AXES_COOLOFF_TIME = dt.timedelta(0)
    assert log_in(**here).status_code == 302


@pytest.mark.parametrize(("key", "limit"), [(SEEN, "session_idle"), (SINCE, "session_longest")])
def test_a_login_ends_by_age(nika: User, settings: Any, key: str, limit: str) -> None:
    client = Client()
    log_in(client=client)
    assert client.get(ACCOUNT).status_code == 200
    session = client.session
    session[key] -= getattr(settings.CONFIG.admin, limit) - 10
    session.save()
    assert client.get(ACCOUNT).status_code == 200
    session = client.session
    session[key] -= getattr(settings.CONFIG.admin, limit)
    session.save()
    ended = client.get(ACCOUNT)
    assert (ended.status_code, ended["Location"].partition("?")[0]) == (302, "/admin/login/")
    assert acts()[-1] == ("logout", "nika", "from 127.0.0.1", "the login ended by age")


def test_each_response_has_the_content_security_policy(person: Person) -> None:
    client = person("Administrator")
    for path in ("/admin/login/", "/admin/", "/admin/console/messages/", "/admin/nowhere/"):
        policy = client.get(path)["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert re.search(r"script-src [^;]*'unsafe-inline'", policy) is None


def test_no_template_has_scripts_inline() -> None:
    from tests.support.tools import ROOT

    found = [
        path.name
        for path in (ROOT / "apps" / "console" / "templates").rglob("*.html")
        if re.search(r"<script(?![^>]*src=)|\son[a-z]+=", path.read_text(encoding="utf-8"))
    ]
    assert found == []


class Enrolled:
    """A user whose role requires a second factor, which was set up."""

    def __init__(self, user: User) -> None:
        self.user = user
        self.client = Client()
        log_in(client=self.client)
        page = self.client.get(NEW)
        self.secret = page.context["secret"]
        done = self.client.post(NEW, {"code": code_of(self.secret, later=-1)})
        self.codes: list[str] = done.context["codes"]

    def log_in(self) -> Client:
        """Log in with the password alone."""
        client = Client()
        log_in(client=client)
        return client


@pytest.fixture
def enrolled(person: Person, nika: User) -> Enrolled:
    person("Finance")  # makes the roles
    nika.groups.add(Group.objects.get(name="Finance"))
    require("Finance")
    return Enrolled(nika)


def test_a_role_requires_a_second_factor_before_any_page(person: Person) -> None:
    finance, support = person("Finance"), person("Support")
    assert finance.get("/admin/").status_code == 200
    require("Finance")
    for path in ("/admin/", "/admin/console/messages/", "/admin/customers/customer/", ACCOUNT):
        for send in (finance.get, finance.post):
            assert send(path)["Location"].partition("?")[0] == NEW, path
    assert support.get("/admin/").status_code == 200
    assert finance.get(NEW).status_code == 200
    assert finance.post("/admin/logout/").status_code == 200


def test_superusers_need_it_once_any_role_does(person: Person, nika: User) -> None:
    User.objects.filter(pk=nika.pk).update(is_superuser=True)
    client = Client()
    log_in(client=client)
    assert client.get("/admin/").status_code == 200
    person("Support")
    require("Support")
    assert client.get("/admin/")["Location"].startswith(NEW)


def test_a_setting_requires_it_of_everybody(person: Person, settings: Any) -> None:
    configured(settings, second_factor="everybody")
    assert person("Support").get("/admin/")["Location"].startswith(NEW)


def test_the_code_is_asked_for_after_the_password(enrolled: Enrolled) -> None:
    assert enrolled.client.get("/admin/").status_code == 200
    client = enrolled.log_in()
    asked = client.get("/admin/console/messages/?days=3")
    assert asked["Location"] == f"{ASK}?next=%2Fadmin%2Fconsole%2Fmessages%2F%3Fdays%3D3"
    assert client.get(NEW)["Location"].startswith(ASK), "a password alone must not replace the authenticator"
    key = client.session.session_key
    passed = client.post(asked["Location"], {"code": code_of(enrolled.secret)})
    assert passed["Location"] == "/admin/console/messages/?days=3"
    assert client.session.session_key != key
    assert client.get("/admin/").status_code == 200
    assert [act[0] for act in acts()][-2:] == ["login", "login.second_factor"]


@pytest.mark.parametrize("there", ["https://evil.example/", "//evil.example/admin/", "/v1/sms", "javascript:alert(1)"])
def test_the_page_leads_nowhere_else(enrolled: Enrolled, there: str) -> None:
    client = enrolled.log_in()
    passed = client.post(f"{ASK}?next={there}", {"code": code_of(enrolled.secret)})
    assert passed["Location"] == "/admin/"


def test_a_wrong_code_is_refused_and_delays_the_next(enrolled: Enrolled) -> None:
    client = enrolled.log_in()
    right = code_of(enrolled.secret)
    wrong = f"{(int(right) + 1) % 1_000_000:06}"
    for code in (wrong, right):  # the right one comes too soon
        refused = client.post(ASK, {"code": code})
        assert refused.status_code == 200
        assert "This code is wrong" in refused.content.decode()
    assert client.get("/admin/")["Location"].startswith(ASK)
    assert [act[3] for act in acts() if act[0] == "login.failed"] == ["wrong second factor"] * 2


def test_a_code_is_taken_once(enrolled: Enrolled) -> None:
    code = code_of(enrolled.secret)
    assert enrolled.log_in().post(ASK, {"code": code}).status_code == 302
    assert enrolled.log_in().post(ASK, {"code": code}).status_code == 200


def test_a_recovery_code_is_taken_once_and_is_not_stored(enrolled: Enrolled) -> None:
    from django_otp.plugins.otp_static.models import StaticToken

    first, second = enrolled.codes[:2]
    assert len(set(enrolled.codes)) == second_factor.RECOVERY_CODES
    stored = set(StaticToken.objects.values_list("token", flat=True))
    assert not stored & {code.replace("-", "")[:16] for code in enrolled.codes}
    assert enrolled.log_in().post(ASK, {"code": first.upper()}).status_code == 302
    assert second_factor.recovery_codes_left(enrolled.user) == second_factor.RECOVERY_CODES - 1
    assert enrolled.log_in().post(ASK, {"code": second}).status_code == 302
    assert enrolled.log_in().post(ASK, {"code": first}).status_code == 200


def test_new_recovery_codes_replace_the_old_ones(enrolled: Enrolled) -> None:
    made = enrolled.client.post("/admin/console/account/recovery-codes/").context["codes"]
    assert not set(made) & set(enrolled.codes)
    assert enrolled.log_in().post(ASK, {"code": enrolled.codes[0]}).status_code == 200
    assert second_factor.recovery_codes_left(enrolled.user) == second_factor.RECOVERY_CODES


def test_a_required_second_factor_cannot_be_removed_by_its_owner(enrolled: Enrolled) -> None:
    enrolled.client.post("/admin/console/account/second-factor/remove/")
    assert second_factor.device_of(enrolled.user) is not None
    RoleRule.objects.update(second_factor=False)
    enrolled.client.post("/admin/console/account/second-factor/remove/")
    assert second_factor.device_of(enrolled.user) is None
    assert acts()[-1][0] == "second_factor.remove"


def test_an_administrator_removes_the_second_factor_of_somebody_else(enrolled: Enrolled, person: Person) -> None:
    chosen = {"action": "remove_second_factor", "_selected_action": enrolled.user.pk}
    for role, removed in (("Support", False), ("Administrator", True)):
        person(role).post("/admin/auth/user/", chosen)
        assert (second_factor.device_of(enrolled.user) is None) == removed
    assert [(act.act, act.user_name, act.subject) for act in Act.objects.order_by("-id")[:1]] == [
        ("second_factor.remove", "administrator", "nika")
    ]
    assert enrolled.log_in().get("/admin/")["Location"].startswith(NEW)


def test_an_administrator_makes_a_role_require_it(person: Person) -> None:
    administrator = person("Administrator")
    role = Group.objects.get(name="Support")
    form = {"name": "Support", "rule-TOTAL_FORMS": 1, "rule-INITIAL_FORMS": 0, "rule-0-second_factor": "on"}
    form |= {"rule-0-role": role.pk, "permissions": list(role.permissions.values_list("pk", flat=True))}
    administrator.post(f"/admin/auth/group/{role.pk}/change/", form)
    assert RoleRule.objects.get(role=role).second_factor
    assert person("Support").get("/admin/")["Location"].startswith(NEW)
    (changed,) = Act.objects.filter(act="group.change")
    assert any("econd factor" in change[0] and change[2] == "yes" for change in changed.details["changes"])


def test_the_secrets_of_devices_have_no_pages(person: Person) -> None:
    administrator = person("Administrator")
    User.objects.update(is_superuser=True)
    for path in ("/admin/otp_totp/totpdevice/", "/admin/otp_static/staticdevice/", "/admin/axes/accessattempt/"):
        assert administrator.get(path).status_code == 404


def test_a_command_removes_the_second_factor_of_the_last_superuser(enrolled: Enrolled) -> None:
    call_command("second_factor_remove", "nika", stdout=io.StringIO())
    assert second_factor.device_of(enrolled.user) is None
    assert acts()[-1][:3] == ("second_factor.remove", "manage.py", "nika")
    for name, said in (("nika", "has no second factor"), ("nobody", "No user is called nobody")):
        with pytest.raises(CommandError, match=said):
            call_command("second_factor_remove", name)
