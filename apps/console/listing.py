"""Lists in pages, the newest first: filters in the address, a cursor for what follows, never a count."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final
from uuid import UUID

from django import forms
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from apps.customers.models import Customer
from apps.sms.numbers import without_marks
from smsgateway import ids
from smsgateway.http.paging import LONGEST, Page

LIMIT: Final = 50
_SOON: Final = dt.timedelta(minutes=5)


class DateInput(UnfoldAdminTextInputWidget):  # type: ignore[misc]  # unfold has no types
    input_type = "date"


class UlidField(forms.CharField):
    """An id of 26 characters."""

    def to_python(self, value: Any) -> Any:
        text = without_marks(str(super().to_python(value) or "")).strip()
        if not text:
            return None
        try:
            return ids.from_text(text)
        except ValueError:
            raise forms.ValidationError("An id has 26 letters and digits.") from None

    def prepare_value(self, value: Any) -> Any:
        return ids.to_text(value) if isinstance(value, UUID) else value


class RangeForm(forms.Form):
    """Filters of a list: at least a range of days (UTC) and the place where the page begins."""

    days: int = 7

    since = forms.DateField(required=False, label="From (UTC)", widget=DateInput())
    until = forms.DateField(required=False, label="To (UTC)", widget=DateInput())
    before = forms.CharField(required=False, widget=forms.HiddenInput())

    def clean_before(self) -> int | None:
        text = self.cleaned_data["before"]
        if not text:
            return None
        if not (text.isascii() and text.isdigit() and len(text) < 40):
            raise forms.ValidationError("This is no place in a list.")
        return int(text)

    def clean(self) -> dict[str, Any]:
        found: dict[str, Any] = super().clean() or self.cleaned_data
        since, until = self._days(found)
        if since > until:
            self.add_error("since", "It must not be later than the last day.")
        elif until - since > LONGEST:
            self.add_error("since", f"The range may span {LONGEST.days} days at most.")
        return found

    def page(self) -> Page:
        """The page that is asked for; of a form with mistakes, the first of the usual range."""
        found = self.cleaned_data if self.is_valid() else {}
        since, until = self._days(found)
        midnight = dt.time(tzinfo=dt.UTC)
        end = dt.datetime.combine(until + dt.timedelta(days=1), midnight)
        # The newest are looked for from now on backwards: later days are empty.
        last = min(end, dt.datetime.now(tz=dt.UTC) + _SOON)
        first = dt.datetime.combine(since, midnight)
        return Page(min(first, last - dt.timedelta(seconds=1)), last, LIMIT, found.get("before"))

    def _days(self, found: dict[str, Any]) -> tuple[dt.date, dt.date]:
        until = found.get("until") or dt.datetime.now(tz=dt.UTC).date()
        return found.get("since") or until - dt.timedelta(days=self.days - 1), until


def filters(request: HttpRequest, form: type[RangeForm]) -> RangeForm:
    """The filters in the address; the usual range shows in them where the address names none."""
    asked = {name: value for name, value in request.GET.dict().items() if value}
    until = dt.datetime.now(tz=dt.UTC).date()
    usual = (
        {}
        if "since" in asked or "until" in asked
        else {"since": until - dt.timedelta(days=form.days - 1), "until": until}
    )
    return form({**usual, **asked})


def older(request: HttpRequest, found: list[Any], place: int) -> str:
    """The query of the page after this one; empty if it is the last. `place`: of its last item."""
    if len(found) <= LIMIT:
        return ""
    query = request.GET.copy()
    query["before"] = str(place)
    return query.urlencode()


def names_of(customer_ids: Any) -> dict[UUID, str]:
    """The names of these customers."""
    return dict(Customer.objects.filter(id__in=set(customer_ids)).values_list("id", "name"))


def text_field(title: str, **options: Any) -> forms.CharField:
    """A text among the filters."""
    return forms.CharField(required=False, label=title, widget=UnfoldAdminTextInputWidget(), **options)


def ulid_field(title: str) -> UlidField:
    """An id among the filters."""
    return UlidField(required=False, label=title, widget=UnfoldAdminTextInputWidget())


def choice_field(title: str, choices: list[str]) -> forms.ChoiceField:
    """One of several among the filters."""
    offered = [("", "all"), *((choice, choice) for choice in choices)]
    return forms.ChoiceField(required=False, label=title, choices=offered, widget=UnfoldAdminSelectWidget())
