"""A person's own second factor: asked for after the password, set up, replaced, removed."""

from __future__ import annotations

from typing import Any, Final

import django_otp
import segno
from django import forms
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from unfold.widgets import UnfoldAdminTextInputWidget

from apps.console import cells, second_factor
from apps.console.access import page
from apps.console.audit import act_note
from apps.console.logins import login_record

_WRONG: Final = "This code is wrong, was used before, or came too soon after a wrong one. Wait for the next one."


class CodeForm(forms.Form):
    code = forms.CharField(
        label="Code",
        max_length=40,
        widget=UnfoldAdminTextInputWidget(
            attrs={"autocomplete": "one-time-code", "autofocus": True, "spellcheck": "false"}
        ),
    )


def own_page(view: Any) -> Any:
    """A page for everybody of the staff, about themselves. Nothing of it is cached."""

    def uncached(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response: HttpResponse = view(request, *args, **kwargs)
        response["Cache-Control"] = "no-store"
        return response

    return admin.site.admin_view(uncached)


@own_page
def code_page(request: HttpRequest) -> HttpResponse:
    """Asks for a code after the password."""
    user: Any = request.user
    there = request.GET.get("next", "")
    if not url_has_allowed_host_and_scheme(there, allowed_hosts={request.get_host()}) or not there.startswith(
        "/admin/"
    ):
        there = reverse("admin:index")
    if user.is_verified() or second_factor.device_of(user) is None:
        return HttpResponseRedirect(there)
    form = CodeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        device = second_factor.code_verify(user=user, code=form.cleaned_data["code"])
        if device is not None:
            _let_pass(request, device)
            login_record(request, act="login.second_factor", user=user, why=device.name)
            if (left := second_factor.recovery_codes_left(user)) and device.name == "recovery codes":
                messages.warning(request, f"You have {left} recovery codes left.")
            return HttpResponseRedirect(there)
        login_record(request, act="login.failed", user=user, why="wrong second factor")
        form.add_error("code", _WRONG)
    return page(
        request,
        "console/second_factor.html",
        title="Second factor",
        form=form,
        intro="Enter the code that your authenticator app shows, or one of your recovery codes.",
        button="Log in",
        is_popup=True,  # without the menu, which leads nowhere yet
    )


@own_page
def account_page(request: HttpRequest) -> HttpResponse:
    """What a person's login needs."""
    user: Any = request.user
    has_device = second_factor.device_of(user) is not None
    facts = [
        ("name", user.get_username()),
        ("roles", ", ".join(user.groups.values_list("name", flat=True)) or "none"),
        ("second factor", "set up" if has_device else "not set up"),
        ("your roles require it", "yes" if second_factor.is_required(user) else "no"),
        ("recovery codes left", str(second_factor.recovery_codes_left(user))),
    ]
    return page(
        request,
        "console/account.html",
        title="Your login",
        facts=facts,
        has_device=has_device,
        may_remove=has_device and not second_factor.is_required(user),
        new_url=cells.url("second-factor-new"),
        codes_url=cells.url("recovery-codes"),
        remove_url=cells.url("second-factor-remove"),
    )


@own_page
def new_page(request: HttpRequest) -> HttpResponse:
    """Shows the secret of a new authenticator, and takes its first code."""
    user: Any = request.user
    form = CodeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        with transaction.atomic():
            device = second_factor.enrolment_confirm(user=user, code=form.cleaned_data["code"])
            if device is not None:
                codes = second_factor.recovery_codes_make(user)
                act_note(request=request, act="second_factor.add", subject=user.get_username())
        if device is not None:
            _let_pass(request, device)
            return _codes_shown(request, codes)
        form.add_error("code", _WRONG)
    device = second_factor.enrolment(user)
    return page(
        request,
        "console/second_factor.html",
        title="Set up a second factor",
        form=form,
        intro="Scan the picture with an authenticator app, or type the secret there. Then enter the code it shows.",
        picture=segno.make(device.config_url, error="m").svg_data_uri(scale=5),
        secret=second_factor.secret_text(device),
        button="Set up",
        is_popup=second_factor.is_required(user) and second_factor.device_of(user) is None,
    )


@own_page
def codes_page(request: HttpRequest) -> HttpResponse:
    """Replaces the recovery codes."""
    user: Any = request.user
    if second_factor.device_of(user) is None or request.method != "POST":
        return HttpResponseRedirect(cells.url("account"))
    with transaction.atomic():
        codes = second_factor.recovery_codes_make(user)
        act_note(request=request, act="second_factor.codes", subject=user.get_username())
    return _codes_shown(request, codes)


@own_page
def remove_page(request: HttpRequest) -> HttpResponse:
    """Removes the person's own second factor, unless a role requires it."""
    user: Any = request.user
    if request.method == "POST" and not second_factor.is_required(user):
        second_factor_remove(request, user)
        messages.success(request, "Your second factor is removed.")
    return HttpResponseRedirect(cells.url("account"))


def _let_pass(request: HttpRequest, device: Any) -> None:
    """The session may do more from now on, so it gets a new key."""
    request.session.cycle_key()
    django_otp.login(request, device)


def second_factor_remove(request: HttpRequest, user: User) -> None:
    """Remove the second factor of a user, with an entry in the audit log."""
    with transaction.atomic():
        if second_factor.remove(user):
            act_note(request=request, act="second_factor.remove", subject=user.get_username())


def _codes_shown(request: HttpRequest, codes: list[str]) -> HttpResponse:
    return page(
        request,
        "console/recovery_codes.html",
        title="Your recovery codes",
        codes=codes,
        done_url=reverse("admin:index"),
    )
