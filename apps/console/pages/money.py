"""Top-ups and adjustments, the ledger, and the low-balance threshold.

A booking takes two steps: amount and reason, then a review of the balance before and after. The second step carries a
token with the form's id. Sent twice it books once, because that id is the primary key of `BookedForm`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from unfold.widgets import UnfoldAdminTextInputWidget

from apps.balance.errors import ReferenceUsed
from apps.balance.low_balance import low_balance_set
from apps.balance.models import LedgerEntry, LowBalance
from apps.balance.selectors import ledger_list
from apps.balance.services import (
    MAX_BALANCE,
    Booking,
    account_adjust,
    account_top_up_once,
    form_booking_find,
    top_up_find,
)
from apps.console import cells
from apps.console.access import console_page, page, read_only
from apps.console.amounts import MoneyField
from apps.console.audit import act_note
from apps.console.listing import LIMIT, RangeForm, choice_field, filter_form, older_query
from apps.console.pages.customers import customer_or_404
from apps.console.tables import ledger_table
from apps.console.tokens import TokenInvalid, token_make, token_read
from apps.customers.models import Customer
from smsgateway import ids, money
from smsgateway.errors import GatewayError


class TopUpForm(forms.Form):
    def __init__(self, *args: Any, customer: Customer, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.customer = customer
        currency = customer.account.currency
        self.fields["amount"] = MoneyField(currency, label=f"Amount in {currency}")
        self.fields["reference"] = forms.CharField(
            max_length=200,
            widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"}),
            help_text="Identifies the payment. Each reference can be booked once per customer.",
        )

    def clean_amount(self) -> int:
        amount: int = self.cleaned_data["amount"]
        if amount <= 0:
            raise forms.ValidationError("Enter an amount above zero.")
        return _checked_maximum(self.customer, amount)

    def clean_reference(self) -> str:
        return " ".join(str(self.cleaned_data["reference"]).split())

    @property
    def why(self) -> str:
        return str(self.cleaned_data["reference"])


class AdjustForm(forms.Form):
    def __init__(self, *args: Any, customer: Customer, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.customer = customer
        currency = customer.account.currency
        self.fields["amount"] = MoneyField(
            currency,
            label=f"Amount in {currency}",
            help_text="A negative amount is deducted. A balance cannot fall below zero.",
        )
        self.fields["reason"] = forms.CharField(
            max_length=200,
            min_length=5,
            widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"}),
            help_text="Shown in the ledger, which the customer can read, and in the audit log.",
        )

    def clean_amount(self) -> int:
        amount: int = self.cleaned_data["amount"]
        if amount == 0:
            raise forms.ValidationError("Enter an amount other than zero.")
        if self.customer.account.balance + amount < 0:
            raise forms.ValidationError("The balance would fall below zero.")
        return _checked_maximum(self.customer, amount)

    @property
    def why(self) -> str:
        return str(self.cleaned_data["reason"])


def _checked_maximum(customer: Customer, amount: int) -> int:
    """The amount, if the new balance can be stored. Checked before the confirmation, not after it."""
    if customer.account.balance + amount > MAX_BALANCE:
        raise forms.ValidationError("The balance would be larger than can be stored.")
    return amount


BookingForm = TopUpForm | AdjustForm
Book = Callable[[UUID, BookingForm, UUID], Booking]


def _top_up(customer_id: UUID, form: BookingForm, form_id: UUID) -> Booking:
    return account_top_up_once(
        customer_id=customer_id, amount=form.cleaned_data["amount"], reference=form.why, form_id=form_id
    )


def _adjust(customer_id: UUID, form: BookingForm, form_id: UUID) -> Booking:
    return account_adjust(customer_id=customer_id, amount=form.cleaned_data["amount"], reason=form.why, form_id=form_id)


@console_page("balance.topup_account")
def top_up_page(request: HttpRequest, customer_id: UUID) -> HttpResponse:
    """Add to a balance."""
    return _book(request, customer_id, kind=TopUpForm, verb="Top up", act="balance.topup", book=_top_up)


@console_page("balance.adjust_account")
def adjust_page(request: HttpRequest, customer_id: UUID) -> HttpResponse:
    """Correct a balance, up or down."""
    return _book(request, customer_id, kind=AdjustForm, verb="Adjust", act="balance.adjust", book=_adjust)


def _book(
    request: HttpRequest,
    customer_id: UUID,
    *,
    kind: type[TopUpForm] | type[AdjustForm],
    verb: str,
    act: str,
    book: Book,
) -> HttpResponse:
    customer = customer_or_404(customer_id)
    back = cells.url("customer", customer_id)
    form = kind(request.POST if request.method == "POST" else None, customer=customer)
    context: dict[str, Any] = {"customer": customer, "form": form, "back": back, "verb": verb}
    context["currency"] = customer.account.currency
    context["balance"] = money.formatted(customer.account.balance, customer.account.currency)
    title = f"{verb} {customer.name}"
    if request.method != "POST" or "change" in request.POST:  # back from the review to the filled-in form
        return page(request, "console/money_form.html", title=title, **context)
    if "token" in request.POST:
        return _book_confirmed(request, customer, form, act=act, book=book, back=back)
    if not form.is_valid():
        return page(request, "console/money_form.html", title=title, **context)
    amount = form.cleaned_data["amount"]
    if earlier := _earlier_booking(form):
        form.add_error("reference", earlier)
        return page(request, "console/money_form.html", title=title, **context)
    return page(
        request,
        "console/money_confirm.html",
        title=title,
        **context,
        amount=money.formatted(amount, customer.account.currency),
        after=money.formatted(customer.account.balance + amount, customer.account.currency),
        taken=amount < 0,
        token=token_make(_token_purpose(act), customer_id),
    )


def _token_purpose(act: str) -> str:
    """Not the act alone: before `BookedForm` existed, a token of that purpose held the id of a ledger entry."""
    return f"{act}.form"


def _earlier_booking(form: BookingForm) -> str:
    """When and with which amount a top-up's reference was booked before; empty if it was not."""
    known = None
    if isinstance(form, TopUpForm):
        known = top_up_find(customer_id=form.customer.pk, reference=form.why)
    if known is None:
        return ""
    amount = money.with_currency(known.amount, form.customer.account.currency)
    return f"This reference was booked on {ids.moment(known.id):%Y-%m-%d %H:%M} UTC: {amount}."


def _book_confirmed(
    request: HttpRequest, customer: Customer, form: BookingForm, *, act: str, book: Book, back: str
) -> HttpResponse:
    """The second step: book what the form says, once per id in its token. Sending the form again books nothing more."""
    currency = customer.account.currency
    try:
        form_id = UUID(token_read(_token_purpose(act), customer.pk, request.POST["token"]))
    except (TokenInvalid, ValueError):
        messages.error(request, "This confirmation has expired and booked nothing. Check the ledger, then start again.")
        return HttpResponseRedirect(back)
    known = form_booking_find(customer_id=customer.pk, form_id=form_id)
    if known is None and not form.is_valid():
        reasons = "; ".join(str(error) for errors in form.errors.values() for error in errors)
        messages.error(request, f"Nothing was booked: {reasons}")
        return HttpResponseRedirect(back)
    try:
        with transaction.atomic():
            booking = Booking(known, is_new=False) if known is not None else book(customer.pk, form, form_id)
            if booking.is_new:
                act_note(
                    request=request,
                    act=act,
                    subject=f"{money.with_currency(booking.entry.amount, currency)}, {customer.name}",
                    customer_id=customer.pk,
                    why=form.why,
                    changes=[
                        (
                            "balance",
                            money.with_currency(booking.entry.balance_after - booking.entry.amount, currency),
                            money.with_currency(booking.entry.balance_after, currency),
                        )
                    ],
                    entry_id=str(booking.entry.id),
                    amount=booking.entry.amount,
                    balance_after=booking.entry.balance_after,
                )
    except GatewayError as error:
        # The detail of ReferenceUsed has minor units.
        reason = _earlier_booking(form) if isinstance(error, ReferenceUsed) else error.detail
        messages.error(request, f"Nothing was booked. {error.title}. {reason}")
        return HttpResponseRedirect(back)
    amount, balance = (
        money.with_currency(minor, currency) for minor in (booking.entry.amount, booking.entry.balance_after)
    )
    if booking.is_new:
        messages.success(request, f"{amount} booked. The balance is {balance}.")
    else:
        messages.warning(
            request, f"{amount} was booked before and is not booked again. The balance after it was {balance}."
        )
    return HttpResponseRedirect(back)


class LedgerFilters(RangeForm):
    days = 31
    kind = choice_field("Kind", list(LedgerEntry.Kind.values))


@console_page("balance.view_ledgerentry", "customers.view_customer")
@read_only
def ledger_page(request: HttpRequest, customer_id: UUID) -> HttpResponse:
    """The ledger of an account, with its running balance."""
    customer = customer_or_404(customer_id)
    form = filter_form(request, LedgerFilters)
    wanted = form.page()
    kind = form.cleaned_data.get("kind") if form.is_valid() else None
    entries = list(ledger_list(customer_id=customer_id, page=wanted, kind=kind or None))
    shown = entries[:LIMIT]
    return page(
        request,
        "console/list.html",
        title=f"Ledger of {customer.name}",
        subtitle=f"balance {money.with_currency(customer.account.balance, customer.account.currency)}",
        form=form,
        table=ledger_table(shown, customer.account.currency),
        older=older_query(request, entries, shown[-1].entry) if shown else "",
        back=cells.url("customer", customer_id),
        empty="No ledger entries in these days.",
    )


class ThresholdForm(forms.Form):
    def __init__(self, *args: Any, currency: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["threshold"] = MoneyField(
            currency,
            label=f"Notify when the balance falls below, in {currency}",
            required=False,
            help_text="Empty: never.",
        )


@console_page("balance.change_lowbalance", "customers.view_customer")
def threshold_page(request: HttpRequest, customer_id: UUID) -> HttpResponse:
    """The balance below which a customer is notified."""
    customer = customer_or_404(customer_id)
    currency = customer.account.currency
    known = LowBalance.objects.filter(customer_id=customer_id).first()
    initial = {"threshold": known.threshold if known else None}
    form = ThresholdForm(request.POST if request.method == "POST" else None, currency=currency, initial=initial)
    back = cells.url("customer", customer_id)
    if request.method == "POST" and form.is_valid():
        threshold = form.cleaned_data["threshold"]
        try:
            with transaction.atomic():
                before = LowBalance.objects.select_for_update().filter(customer_id=customer_id).first()
                low_balance_set(customer_id=customer_id, threshold=threshold)
                shown = money.with_currency(threshold, currency) if threshold else "none"
                act_note(
                    request=request,
                    act="balance.threshold",
                    subject=f"{shown}, {customer.name}",
                    customer_id=customer_id,
                    changes=[("threshold", money.with_currency(before.threshold, currency) if before else "", shown)],
                    threshold=threshold,
                )
        except GatewayError as error:
            form.add_error("threshold", error.detail)
        else:
            messages.success(request, f"Low-balance threshold: {shown}.")
            return HttpResponseRedirect(back)
    return page(
        request,
        "console/form.html",
        title=f"Low-balance notice for {customer.name}",
        form=form,
        back=back,
        intro="The customer is notified once, by callback and by e-mail. A top-up re-enables the notice.",
        button="Save",
    )
