"""Customers: search, add, edit, suspend; and the page of one customer, with what people ask about on the phone."""

from __future__ import annotations

import re
from typing import Any, Final
from uuid import UUID

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.db import transaction
from django.db.models import F, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminTextInputWidget

from apps.balance.models import Account
from apps.balance.services import prepaid_customer_create
from apps.console import cells
from apps.console.access import console_page, page, read_only
from apps.console.admin_base import AuditedAdmin
from apps.console.audit import act_note
from apps.console.pages.customer_overview import customer_overview
from apps.customers.models import ApiKey, Customer, RefundOn, every_failure
from apps.customers.services import customer_status_set
from apps.sms.numbers import NotMobile, plan_of, without_marks
from smsgateway import ids

_SUSPENDED: Final = (
    "New messages are refused at once. Messages accepted before, including scheduled ones, are held within seconds "
    "until the customer is active again; those that expire first are refunded according to its refund policy. Messages "
    "that an operator has already taken cannot be stopped."
)
_RESUMED: Final = "New messages are accepted again, and held messages are sent in their order."

_KEY: Final = re.compile(r"sgw_([0-9a-f]{8})(_\S*)?")


class PhoneField(forms.CharField):
    """A phone number, kept in E.164."""

    def clean(self, value: Any) -> str:
        text = str(super().clean(value) or "")
        try:
            return plan_of(settings.CONFIG.sms).to_e164(text) if text else ""
        except NotMobile as error:
            raise forms.ValidationError(f"It {error}.") from None


class CustomerForm(forms.ModelForm):  # type: ignore[type-arg]  # at run time it takes none
    phone = PhoneField(
        required=False,
        widget=UnfoldAdminTextInputWidget(),
        help_text="Mobile number of the contact, found by search.",
    )

    refund_on = forms.MultipleChoiceField(
        required=False,
        label="Refunded when",
        choices=RefundOn.choices,
        initial=every_failure,
        widget=UnfoldAdminCheckboxSelectMultipleWidget(),
        help_text="Canceled messages are always refunded.",
    )

    class Meta:
        model = Customer
        fields = ("name", "email", "phone", "segments_per_second", "messages_per_minute", "refund_on")
        help_texts = {
            "email": "Receives notices, such as that of a low balance.",
            "segments_per_second": "Workers submit at most this many segments per second for this customer.",
            "messages_per_minute": "The API accepts at most this many per minute. Empty: API_MESSAGES_PER_MINUTE.",
        }


class LowBalanceFilter(admin.SimpleListFilter):
    title = "balance"
    parameter_name = "balance"

    def lookups(self, _request: HttpRequest, _admin: Any) -> list[tuple[str, str]]:
        return [("low", "below its threshold")]

    def queryset(self, _request: HttpRequest, queryset: QuerySet[Customer]) -> QuerySet[Customer]:
        if self.value() != "low":
            return queryset
        return queryset.filter(low_balance__threshold__gt=F("account__balance"))


@admin.register(Customer)
class CustomerAdmin(AuditedAdmin):
    """The form has no balance, which changes by top-ups and adjustments, and no status, which needs a reason."""

    form = CustomerForm
    actions = None
    list_display = ("named", "ulid", "state", "balance", "segments_per_second", "created")
    list_display_links = None
    list_filter = ("status", LowBalanceFilter)
    list_select_related = ("account",)
    search_fields = ("name",)
    search_help_text = "Name, id, phone number or API key"
    ordering = ("name", "id")
    sortable_by = ("named", "created")
    fieldsets = (
        (None, {"fields": ("name", "email", "phone")}),
        ("Limits", {"fields": ("segments_per_second", "messages_per_minute")}),
        ("Refunds", {"fields": ("refund_on",)}),
    )

    @admin.display(description="name", ordering="name")
    def named(self, customer: Customer) -> SafeString:
        return cells.customer(customer.pk, customer.name)

    @admin.display(description="id")
    def ulid(self, customer: Customer) -> SafeString:
        return cells.code(ids.to_text(customer.pk))

    @admin.display(description="status")
    def state(self, customer: Customer) -> SafeString:
        return cells.label(customer.status)

    @admin.display(description="balance")
    def balance(self, customer: Customer) -> SafeString:
        account: Account | None = getattr(customer, "account", None)
        return cells.amount(account.balance, account.currency) if account else cells.NOTHING

    @admin.display(description="created", ordering="id")
    def created(self, customer: Customer) -> SafeString:
        return cells.moment(customer.created_at)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Customer], search_term: str
    ) -> tuple[QuerySet[Customer], bool]:
        name = search_term.strip()
        term = " ".join(without_marks(name).split())
        try:
            return queryset.filter(id=ids.from_text(term)), False
        except ValueError:
            pass
        if key := _KEY.fullmatch(term):
            return queryset.filter(id__in=ApiKey.objects.filter(prefix=key[1]).values("customer_id")), False
        try:
            by_phone = queryset.filter(phone=plan_of(settings.CONFIG.sms).to_e164(term))
        except NotMobile:
            pass
        else:
            if by_phone.exists():
                return by_phone, False
        return queryset.filter(name__icontains=name), False

    def save_model(self, request: HttpRequest, obj: Customer, form: Any, change: bool) -> None:
        if change:
            obj.save(update_fields=form.changed_data)  # keep what somebody else has changed meanwhile
            return
        made = prepaid_customer_create(currency=settings.CONFIG.sms.currency, **form.cleaned_data)
        obj.pk = made.pk
        obj._state.adding = False

    def response_add(self, request: HttpRequest, obj: Customer, _continue_at: str | None = None) -> HttpResponse:
        messages.success(request, f"{obj.name} was created. Make an API key and top up next.")
        return HttpResponseRedirect(cells.url("customer", obj.pk))

    def response_change(self, request: HttpRequest, obj: Customer) -> HttpResponse:
        messages.success(request, f"{obj.name} was changed.")
        return HttpResponseRedirect(cells.url("customer", obj.pk))

    def has_delete_permission(self, _request: HttpRequest, _customer: Any = None) -> bool:
        return False  # its ledger must stay


class ReasonForm(forms.Form):
    """Asks for the reason of an action."""

    why = forms.CharField(
        label="Reason", max_length=500, widget=UnfoldAdminTextInputWidget(), help_text="Shown in the audit log."
    )


def customer_or_404(customer_id: UUID) -> Customer:
    """The customer with its account, for a page."""
    try:
        return Customer.objects.select_related("account").get(id=customer_id)
    except Customer.DoesNotExist:
        raise Http404("No customer has this id.") from None


@console_page("customers.view_customer", "balance.view_account")
@read_only
def customer_page(request: HttpRequest, customer_id: UUID) -> HttpResponse:
    """The page of one customer."""
    customer = customer_or_404(customer_id)
    return page(
        request,
        "console/customer.html",
        title=customer.name,
        customer=customer,
        **customer_overview(customer, request),
    )


@console_page("customers.suspend_customer")
def status_page(request: HttpRequest, customer_id: UUID) -> HttpResponse:
    """Suspend a customer or make it active again, with a reason."""
    customer = customer_or_404(customer_id)
    active = customer.status == Customer.Status.ACTIVE
    form = ReasonForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        wanted = Customer.Status.SUSPENDED if request.POST.get("to") == "suspended" else Customer.Status.ACTIVE
        with transaction.atomic():
            if customer_status_set(customer_id=customer_id, status=wanted):
                act_note(
                    request=request,
                    act="customer.suspend" if wanted == Customer.Status.SUSPENDED else "customer.resume",
                    subject=str(customer),
                    customer_id=customer_id,
                    changes=[("status", "suspended" if wanted == Customer.Status.ACTIVE else "active", str(wanted))],
                    why=form.cleaned_data["why"],
                )
        messages.success(request, f"{customer.name} is {wanted}.")
        return HttpResponseRedirect(cells.url("customer", customer_id))
    return page(
        request,
        "console/form.html",
        title=f"{'Suspend' if active else 'Resume'} {customer.name}",
        form=form,
        back=cells.url("customer", customer_id),
        intro=_SUSPENDED if active else _RESUMED,
        button="Suspend" if active else "Resume",
        danger=active,
        hidden={"to": Customer.Status.SUSPENDED if active else Customer.Status.ACTIVE},
    )
