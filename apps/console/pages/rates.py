"""Rates: edited one by one, exported to a CSV file, or imported from one after a review of its changes."""

from __future__ import annotations

from typing import Any, Final

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.safestring import SafeString
from unfold.decorators import action
from unfold.widgets import UnfoldAdminFileFieldWidget, UnfoldBooleanWidget

from apps.console import cells
from apps.console import changes as audit_changes
from apps.console.access import console_page, page
from apps.console.admin_base import AuditedAdmin
from apps.console.amounts import MoneyField
from apps.console.audit import act_note
from apps.console.form_fields import PrefixField
from apps.console.listing import names_of
from apps.customers.models import Customer
from apps.sms.models import MAX_PRICE, Rate
from apps.sms.pricing.csv_import import (
    Change,
    Comparison,
    InvalidRatesFile,
    RatesChanged,
    prices_in_minor,
    rates_apply,
    rates_compare,
    rates_parse,
    rates_write,
)
from smsgateway import money

_MAX_BYTES: Final = 2_000_000
_MAX_SHOWN: Final = 500


def _currency() -> str:
    """The currency of all rates."""
    return settings.CONFIG.sms.currency


class RateForm(forms.ModelForm):  # type: ignore[type-arg]  # at run time it takes none
    prefix = PrefixField(  # type: ignore[assignment]  # forms have a `prefix` of another meaning, which stays
        required=False, help_text="First digits of the number in E.164, such as 98912. Empty: all numbers."
    )
    # The name has the unit: a page of an earlier version, opened before an upgrade, sends `price` in minor units.
    price_major = MoneyField("")

    class Meta:
        model = Rate
        fields = ("prefix", "customer")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        currency = _currency()
        field = self.fields["price_major"]
        field.currency, field.label = currency, f"Price in {currency}"  # type: ignore[attr-defined]
        field.help_text = f"Per segment, such as {money.for_input(60, currency)}."
        self.initial.setdefault("price_major", self.instance.price)

    def clean_price_major(self) -> int:
        price: int = self.cleaned_data["price_major"]
        if not 0 <= price <= MAX_PRICE:
            raise forms.ValidationError(f"A price is between 0 and {money.with_currency(MAX_PRICE, _currency())}.")
        self.instance.price = price
        return price


@admin.register(Rate)
class RateAdmin(AuditedAdmin):
    """A change takes effect within SMS_RATES_REFRESH seconds. Accepted messages keep their cost."""

    form = RateForm
    list_display = ("prefix_shown", "customer", "price_shown")
    list_display_links = ("prefix_shown",)
    list_filter = (("customer", admin.EmptyFieldListFilter),)
    list_select_related = ("customer",)
    search_fields = ("prefix", "customer__name")
    search_help_text = "Prefix or customer name"
    autocomplete_fields = ("customer",)
    ordering = ("prefix", "customer__name")
    actions_list = ("export_rates", "import_rates")

    @admin.display(description="prefix", ordering="prefix")
    def prefix_shown(self, rate: Rate) -> str:
        return cells.prefix(rate.prefix) or "all numbers"

    @admin.display(description="price per segment", ordering="price")
    def price_shown(self, rate: Rate) -> SafeString:
        return cells.amount(rate.price, _currency())

    def get_fields(self, request: HttpRequest, rate: Rate | None = None) -> list[str]:
        # To people who may only view it, Django would show the price in minor units.
        may_change = self.has_change_permission(request, rate) if rate else self.has_add_permission(request)
        return ["prefix", "customer", "price_major" if may_change else "price_shown"]

    def get_readonly_fields(self, _request: HttpRequest, _rate: Rate | None = None) -> list[str]:
        return ["price_shown"]

    def value_shown(self, name: str, value: Any) -> str:
        is_price = name in ("price", "price_major") and value is not None
        return money.with_currency(value, _currency()) if is_price else audit_changes.shown(value)

    @action(description="Export as CSV", icon="download")  # type: ignore[untyped-decorator]
    def export_rates(self, _request: HttpRequest) -> HttpResponse:
        return HttpResponseRedirect(cells.url("rates-export"))

    # The method below checks the permission. Given its full name, unfold would look it up in the database in the system
    # checks of every command, including the `migrate` that creates that database.
    @action(description="Import from CSV", icon="upload", permissions=["import_rates"])  # type: ignore[untyped-decorator]
    def import_rates(self, _request: HttpRequest) -> HttpResponse:
        return HttpResponseRedirect(cells.url("rates-import"))

    def has_import_rates_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return request.user.has_perm("console.import_rates")


class ImportForm(forms.Form):
    file = forms.FileField(
        label="CSV file",
        widget=UnfoldAdminFileFieldWidget(),
        help_text="Columns: prefix,price_major,currency,customer. The price is per segment; customer is an id, or empty"
        " for everybody. A column price_minor, or price as in older files, has minor units.",
    )
    replace = forms.BooleanField(
        required=False,
        label="Remove rates that the file does not have",
        widget=UnfoldBooleanWidget(),
        help_text="Only for customers that the file has, and for everybody if the file has such rates.",
    )

    def clean_file(self) -> str:
        given = self.cleaned_data["file"]
        if given.size > _MAX_BYTES:
            raise forms.ValidationError(f"The file is larger than {_MAX_BYTES // 1_000_000} MB.")
        try:
            text: str = given.read().decode("utf-8-sig")
        except UnicodeDecodeError:
            raise forms.ValidationError("The file is not UTF-8 text.") from None
        try:
            rates_parse(text, currency=_currency())
        except InvalidRatesFile as error:
            raise forms.ValidationError([forms.ValidationError(text) for text in error.errors]) from None
        return text


@console_page("console.import_rates", "sms.view_rate")
def rates_import_page(request: HttpRequest) -> HttpResponse:
    """Choose a file, review its changes, confirm."""
    back = reverse("admin:sms_rate_changelist")
    if request.method == "POST" and "state" in request.POST:
        return _import_confirmed(request, back)
    form = ImportForm(request.POST, request.FILES) if request.method == "POST" else ImportForm()
    if request.method == "POST" and form.is_valid():
        text, replace = form.cleaned_data["file"], form.cleaned_data["replace"]
        comparison = rates_compare(rates_parse(text, currency=_currency()), replace=replace)
        return page(
            request,
            "console/rates_preview.html",
            title="Import rates",
            comparison=comparison,
            summary=_summary(comparison),
            unit=_unit_note(text),
            table=_table(comparison.changes[:_MAX_SHOWN]),
            hidden_changes=max(0, len(comparison.changes) - _MAX_SHOWN),
            text=text,
            replace=replace,
            back=cells.url("rates-import"),
        )
    return page(
        request,
        "console/form.html",
        title="Import rates",
        form=form,
        back=back,
        button="Review changes",
        multipart=True,
    )


def _import_confirmed(request: HttpRequest, back: str) -> HttpResponse:
    replace = request.POST.get("replace") == "True"
    try:
        wanted = rates_parse(request.POST.get("text", ""), currency=_currency())
        with transaction.atomic():
            comparison = rates_apply(wanted, replace=replace, state=request.POST["state"])
            act_note(
                request=request,
                act="rate.import",
                subject=_summary(comparison),
                changes=_audit_changes(comparison.changes),
            )
    except InvalidRatesFile as error:
        messages.error(request, f"Nothing was imported: {error}")
    except RatesChanged:
        messages.error(
            request, "Nothing was imported: the rates have changed since your review. Review the changes again."
        )
        return HttpResponseRedirect(cells.url("rates-import"))
    else:
        messages.success(request, f"Imported: {_summary(comparison)}.")
    return HttpResponseRedirect(back)


@console_page("sms.view_rate")
def rates_export_page(_request: HttpRequest) -> HttpResponse:
    """All rates, as a file that can be imported again."""
    response = HttpResponse(rates_write(currency=_currency()), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = 'attachment; filename="rates.csv"'
    return response


def _unit_note(text: str) -> str:
    """A note on the unit of the file's prices, if they are in minor units."""
    currency = _currency()
    if not prices_in_minor(text):
        return ""
    return f"The price column of this file has minor units: 60 is {money.with_currency(60, currency)}."


def _audit_changes(changes: list[Change]) -> list[audit_changes.Change]:
    """The changes as the audit log stores them."""
    owners = Customer.objects.in_bulk({change.customer_id for change in changes if change.customer_id})
    return [
        (
            f"{change.prefix or 'all numbers'} for {owners[change.customer_id] if change.customer_id else 'everybody'}",
            "" if change.before is None else money.with_currency(change.before, _currency()),
            "" if change.after is None else money.with_currency(change.after, _currency()),
        )
        for change in changes
    ]


def _summary(comparison: Comparison) -> str:
    added = sum(change.before is None for change in comparison.changes)
    removed = sum(change.after is None for change in comparison.changes)
    changed = len(comparison.changes) - added - removed
    return f"{added:,} added, {changed:,} changed, {removed:,} removed, {comparison.unchanged:,} unchanged"


def _table(changes: list[Change]) -> dict[str, Any]:
    names = names_of(change.customer_id for change in changes if change.customer_id)
    rows = []
    for change in changes:
        what = "added" if change.before is None else "removed" if change.after is None else "changed"
        rows.append(
            [
                change.prefix or "all numbers",
                cells.customer(change.customer_id, names.get(change.customer_id))
                if change.customer_id
                else "everybody",
                cells.label(what),
                cells.NOTHING if change.before is None else cells.amount(change.before, _currency()),
                cells.NOTHING if change.after is None else cells.amount(change.after, _currency()),
            ]
        )
    return {"headers": ["prefix", "for", "change", "price before", "price after"], "rows": rows}
