"""Rates: edited one by one, or imported from a CSV file after a look at what it changes."""

from __future__ import annotations

from typing import Any, Final

from django import forms
from django.contrib import admin, messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.decorators import action
from unfold.widgets import UnfoldAdminFileFieldWidget, UnfoldBooleanWidget

from apps.console import cells
from apps.console.access import console_page, page
from apps.console.audit import act_note
from apps.console.audited import AuditedAdmin
from apps.console.listing import names_of
from apps.sms.form_fields import PrefixField
from apps.sms.models import Rate
from apps.sms.rates_import import (
    Change,
    Comparison,
    RatesChanged,
    RatesFileWrong,
    rates_apply,
    rates_compare,
    rates_parse,
)

_LARGEST: Final = 2_000_000
_SHOWN: Final = 500


class RateForm(forms.ModelForm):  # type: ignore[type-arg]  # at run time it takes none
    prefix = PrefixField(  # type: ignore[assignment]  # forms have a `prefix` of another meaning, which stays
        required=False, help_text="The number begins with these digits of E.164: 98912. Empty: all numbers."
    )

    class Meta:
        model = Rate
        fields = ("prefix", "customer", "price")


@admin.register(Rate)
class RateAdmin(AuditedAdmin):
    """A change is charged within SMS_RATES_REFRESH seconds; what was accepted keeps its cost."""

    form = RateForm
    list_display = ("prefix_shown", "customer", "price")
    list_display_links = ("prefix_shown",)
    list_filter = (("customer", admin.EmptyFieldListFilter),)
    list_select_related = ("customer",)
    search_fields = ("prefix", "customer__name")
    search_help_text = "A part of the prefix or of the customer's name."
    autocomplete_fields = ("customer",)
    fields = ("prefix", "customer", "price")
    ordering = ("prefix", "customer__name")
    actions_list = ("import_rates",)

    @admin.display(description="prefix", ordering="prefix")
    def prefix_shown(self, rate: Rate) -> str:
        return cells.prefix(rate.prefix) or "all numbers"

    # Asked of the method below: a permission's own name would be looked for in the database by the checks of every
    # command, so also of the `migrate` that makes that database.
    @action(description="Import from CSV", icon="upload", permissions=["import_rates"])  # type: ignore[untyped-decorator]
    def import_rates(self, _request: HttpRequest) -> HttpResponse:
        return HttpResponseRedirect(cells.url("rates-import"))

    def has_import_rates_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return request.user.has_perm("console.import_rates")


class ImportForm(forms.Form):
    file = forms.FileField(
        label="CSV file",
        widget=UnfoldAdminFileFieldWidget(),
        help_text="Columns: prefix,price,customer. The price in minor units a segment; the customer's id, or nothing.",
    )
    replace = forms.BooleanField(
        required=False,
        label="Remove what the file does not name",
        widget=UnfoldBooleanWidget(),
        help_text="Of those that it names: everybody's rates if it has some of them, and so each customer's.",
    )

    def clean_file(self) -> str:
        given = self.cleaned_data["file"]
        if given.size > _LARGEST:
            raise forms.ValidationError(f"It is larger than {_LARGEST // 1_000_000} MB.")
        try:
            text: str = given.read().decode("utf-8-sig")
        except UnicodeDecodeError:
            raise forms.ValidationError("It is not UTF-8 text.") from None
        try:
            rates_parse(text)
        except RatesFileWrong as error:
            raise forms.ValidationError([forms.ValidationError(told) for told in error.errors]) from None
        return text


@console_page("console.import_rates", "sms.view_rate")
def rates_import_page(request: HttpRequest) -> HttpResponse:
    """Choose a file, look at what it changes, confirm."""
    back = reverse("admin:sms_rate_changelist")
    if request.method == "POST" and "state" in request.POST:
        return _confirmed(request, back)
    form = ImportForm(request.POST, request.FILES) if request.method == "POST" else ImportForm()
    if request.method == "POST" and form.is_valid():
        text, replace = form.cleaned_data["file"], form.cleaned_data["replace"]
        comparison = rates_compare(rates_parse(text), replace=replace)
        return page(
            request,
            "console/rates_preview.html",
            title="Import rates",
            comparison=comparison,
            told=_told(comparison),
            table=_table(comparison.changes[:_SHOWN]),
            hidden_changes=max(0, len(comparison.changes) - _SHOWN),
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
        button="Look at the changes",
        multipart=True,
    )


def _confirmed(request: HttpRequest, back: str) -> HttpResponse:
    replace = request.POST.get("replace") == "True"
    try:
        wanted = rates_parse(request.POST.get("text", ""))
        with transaction.atomic():
            comparison = rates_apply(wanted, replace=replace, state=request.POST["state"])
            act_note(
                request=request,
                act="rate.import",
                subject=_told(comparison),
                changes=[
                    [str(change.customer_id or ""), change.prefix, change.before, change.after]
                    for change in comparison.changes
                ],
            )
    except RatesFileWrong as error:
        messages.error(request, f"Nothing was imported: {error}")
    except RatesChanged:
        messages.error(
            request, "Nothing was imported: the rates were changed since you looked. Look at the changes again."
        )
        return HttpResponseRedirect(cells.url("rates-import"))
    else:
        messages.success(request, f"Imported: {_told(comparison)}.")
    return HttpResponseRedirect(back)


def _told(comparison: Comparison) -> str:
    added = sum(change.before is None for change in comparison.changes)
    removed = sum(change.after is None for change in comparison.changes)
    changed = len(comparison.changes) - added - removed
    return f"{added:,} added, {changed:,} changed, {removed:,} removed, {comparison.unchanged:,} as before"


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
                cells.NOTHING if change.before is None else f"{change.before:,}",
                cells.NOTHING if change.after is None else f"{change.after:,}",
            ]
        )
    return {"headers": ["prefix", "for", "change", "price before", "price after"], "rows": rows}
