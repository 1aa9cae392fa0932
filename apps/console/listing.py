"""Lists in pages, newest first: filters and a cursor in the URL, never a count."""

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
    """Filters of a list: a range of days (UTC), and in `before` the cursor where the page begins."""

    days: int = 7

    since = forms.DateField(required=False, label="From (UTC)", widget=DateInput())
    until = forms.DateField(required=False, label="To (UTC)", widget=DateInput())
    before = forms.CharField(required=False, widget=forms.HiddenInput())

    def clean_before(self) -> int | None:
        text = self.cleaned_data["before"]
        if not text:
            return None
        if not (text.isascii() and text.isdigit() and len(text) < 40):
            raise forms.ValidationError("This is not a position in the list.")
        return int(text)

    def clean(self) -> dict[str, Any]:
        found: dict[str, Any] = super().clean() or self.cleaned_data
        since, until = self._days(found)
        if since > until:
            self.add_error("since", "From must not be later than To.")
        elif until - since > LONGEST:
            self.add_error("since", f"The range may span {LONGEST.days} days at most.")
        return found

    def page(self) -> Page:
        """The requested page; for a form with errors, the first page of the default range."""
        found = self.cleaned_data if self.is_valid() else {}
        since, until = self._days(found)
        midnight = dt.time(tzinfo=dt.UTC)
        end = dt.datetime.combine(until + dt.timedelta(days=1), midnight)
        # Lists go backwards from now: later days are empty.
        last = min(end, dt.datetime.now(tz=dt.UTC) + _SOON)
        first = dt.datetime.combine(since, midnight)
        return Page(min(first, last - dt.timedelta(seconds=1)), last, LIMIT, found.get("before"))

    def _days(self, found: dict[str, Any]) -> tuple[dt.date, dt.date]:
        until = found.get("until") or dt.datetime.now(tz=dt.UTC).date()
        return found.get("since") or until - dt.timedelta(days=self.days - 1), until


def filter_form(request: HttpRequest, form: type[RangeForm]) -> RangeForm:
    """The filters in the URL, with the default range if the URL has none."""
    given = {name: value for name, value in request.GET.dict().items() if value}
    until = dt.datetime.now(tz=dt.UTC).date()
    default = (
        {}
        if "since" in given or "until" in given
        else {"since": until - dt.timedelta(days=form.days - 1), "until": until}
    )
    return form({**default, **given})


def older_query(request: HttpRequest, found: list[Any], place: int) -> str:
    """The query string of the next page; empty if this is the last. `place`: the cursor of this page's last item."""
    if len(found) <= LIMIT:
        return ""
    query = request.GET.copy()
    query["before"] = str(place)
    return query.urlencode()


def names_of(customer_ids: Any) -> dict[UUID, str]:
    """The names of these customers."""
    return dict(Customer.objects.filter(id__in=set(customer_ids)).values_list("id", "name"))


def text_field(title: str, **options: Any) -> forms.CharField:
    """A text filter."""
    return forms.CharField(required=False, label=title, widget=UnfoldAdminTextInputWidget(), **options)


def ulid_field(title: str) -> UlidField:
    """An id filter."""
    return UlidField(required=False, label=title, widget=UnfoldAdminTextInputWidget())


def choice_field(title: str, choices: list[str]) -> forms.ChoiceField:
    """A filter with a few choices."""
    offered = [("", "all"), *((choice, choice) for choice in choices)]
    return forms.ChoiceField(required=False, label=title, choices=offered, widget=UnfoldAdminSelectWidget())
