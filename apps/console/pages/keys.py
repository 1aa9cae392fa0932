"""A customer's API keys: create, rotate, revoke. A key is shown once, in the response that creates it."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final
from uuid import UUID

from django import forms
from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.html import format_html
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from apps.console import cells, changes
from apps.console.access import console_page, page
from apps.console.audit import act_note
from apps.console.pages.customers import ReasonForm, customer_or_404
from apps.console.tokens import TokenInvalid, token_make, token_read
from apps.customers import keys
from apps.customers.models import ApiKey, Customer
from smsgateway.errors import GatewayError

_MAX_SHOWN: Final = 200
_OVERLAPS: Final = (("0", "immediately"), ("1", "in an hour"), ("24", "in a day"), ("168", "in a week"))


class CreateForm(forms.Form):
    label = forms.CharField(
        required=False, max_length=100, widget=UnfoldAdminTextInputWidget(), help_text="What the key is for."
    )


class RotateForm(forms.Form):
    hours = forms.TypedChoiceField(
        label="The old key stops working", choices=_OVERLAPS, coerce=int, initial="24", widget=UnfoldAdminSelectWidget()
    )


@console_page("customers.view_apikey", "customers.view_customer")
def keys_page(request: HttpRequest, customer_id: UUID) -> HttpResponse:
    """The keys of a customer, the newest first."""
    customer = customer_or_404(customer_id)
    user: Any = request.user
    may_change = user.has_perm("customers.change_apikey")
    found = ApiKey.objects.filter(customer_id=customer_id).order_by("-id")[:_MAX_SHOWN]
    rows = []
    for key in found:
        row = [
            cells.code(f"sgw_{key.prefix}_…"),
            key.label or cells.NOTHING,
            cells.label(_state(key)),
            cells.moment(key.created_at),
            cells.moment(key.last_used_at),
            cells.moment(key.revoked_at),
        ]
        if may_change:
            row.append(_actions(key))
        rows.append(row)
    headers = ["key", "label", "state", "created", "last used", "works until", *([""] if may_change else [])]
    return page(
        request,
        "console/keys.html",
        title=f"API keys of {customer.name}",
        customer=customer,
        table={"headers": headers, "rows": rows},
        may_add=user.has_perm("customers.add_apikey"),
        create_url=cells.url("key-create", customer_id),
        back=cells.url("customer", customer_id),
    )


@console_page("customers.add_apikey", "customers.view_customer")
def key_create_page(request: HttpRequest, customer_id: UUID) -> HttpResponse:
    """Create a key."""
    customer = customer_or_404(customer_id)
    form = CreateForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():

        def make(prefix: str) -> str:
            key, text = keys.key_create(customer_id=customer_id, label=form.cleaned_data["label"], prefix=prefix)
            act_note(request=request, act="key.create", subject=str(key), customer_id=customer_id)
            return text

        return _shown_once(request, customer, make)
    return page(
        request,
        "console/form.html",
        title=f"New API key of {customer.name}",
        form=form,
        back=_keys_url(customer_id),
        intro="The key is shown once, on the next page.",
        button="Create key",
        hidden={"token": token_make("key", customer_id, keys.prefix_new())},
    )


@console_page("customers.add_apikey", "customers.change_apikey")
def key_rotate_page(request: HttpRequest, prefix: str) -> HttpResponse:
    """Create a key that replaces another."""
    old = _key_or_404(prefix)
    form = RotateForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        hours = form.cleaned_data["hours"]

        def make(new_prefix: str) -> str:
            key, text = keys.key_rotate(prefix=prefix, overlap=dt.timedelta(hours=hours), new_prefix=new_prefix)
            act_note(
                request=request,
                act="key.rotate",
                subject=f"{old} by {key}",
                customer_id=old.customer_id,
                changes=[("works until", changes.shown(old.revoked_at), changes.shown(_key_or_404(prefix).revoked_at))],
                overlap_hours=hours,
            )
            return text

        return _shown_once(request, old.customer, make)
    return page(
        request,
        "console/form.html",
        title=f"Rotate {old}",
        form=form,
        back=_keys_url(old.customer_id),
        intro="A new key is created and shown once. Both keys work until the old one stops.",
        button="Rotate",
        hidden={"token": token_make("key", old.customer_id, keys.prefix_new())},
    )


@console_page("customers.change_apikey")
def key_revoke_page(request: HttpRequest, prefix: str) -> HttpResponse:
    """Revoke a key, with a reason."""
    key = _key_or_404(prefix)
    form = ReasonForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        with transaction.atomic():
            keys.key_revoke(prefix=prefix)
            act_note(
                request=request,
                act="key.revoke",
                subject=str(key),
                customer_id=key.customer_id,
                changes=[("works until", changes.shown(key.revoked_at), changes.shown(_key_or_404(prefix).revoked_at))],
                why=form.cleaned_data["why"],
            )
        messages.success(request, f"{key} is revoked. All processes refuse it within seconds.")
        return HttpResponseRedirect(_keys_url(key.customer_id))
    return page(
        request,
        "console/form.html",
        title=f"Revoke {key}",
        form=form,
        back=_keys_url(key.customer_id),
        intro="Requests with this key will be refused. This cannot be undone.",
        button="Revoke",
        danger=True,
    )


def _shown_once(request: HttpRequest, customer: Customer, make: Any) -> HttpResponse:
    """Create the key of the form's token and show it. Sending the form again creates none."""
    try:
        prefix = token_read("key", customer.pk, request.POST.get("token", ""))
        with transaction.atomic():
            text = make(prefix)
    except TokenInvalid:
        messages.error(request, "This form has expired. Start again.")
    except GatewayError as error:
        messages.error(request, f"No key was created. {error.title}. {error.detail}")
    else:
        return page(
            request,
            "console/key_shown.html",
            title=f"API key of {customer.name}",
            key=text,
            back=_keys_url(customer.pk),
            customer_url=cells.url("customer", customer.pk),
        )
    return HttpResponseRedirect(_keys_url(customer.pk))


def _state(key: ApiKey) -> str:
    if key.revoked_at is None:
        return "in use"
    return "rotated" if key.revoked_at > timezone.now() else "revoked"


def _actions(key: ApiKey) -> Any:
    if key.revoked_at is not None and key.revoked_at <= timezone.now():
        return ""
    revoke = cells.link("key-revoke", "Revoke", key.prefix)
    if key.revoked_at is not None:
        return revoke
    return format_html('<span class="c-acts">{}{}</span>', cells.link("key-rotate", "Rotate", key.prefix), revoke)


def _key_or_404(prefix: str) -> ApiKey:
    try:
        return ApiKey.objects.select_related("customer").get(prefix=prefix)
    except ApiKey.DoesNotExist:
        raise Http404("No API key has this prefix.") from None


def _keys_url(customer_id: UUID) -> str:
    return cells.url("keys", customer_id)
