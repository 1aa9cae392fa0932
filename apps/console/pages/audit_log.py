"""The audit log: what people did, newest first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import Truncator

from apps.console import cells
from apps.console.access import console_page, page, read_only
from apps.console.changes import Change
from apps.console.listing import LIMIT, RangeForm, filter_form, names_of, older_query, text_field, ulid_field
from apps.console.models import Act
from smsgateway import ids

_MAX_CHANGES: Final = 6
_MAX_LETTERS: Final = 300


class ActFilters(RangeForm):
    days = 31
    who = text_field("Who", max_length=150)
    customer = ulid_field("Customer's id")


def act_table(found: Iterable[Act], names: dict[UUID, str] | None = None) -> dict[str, Any]:
    """Acts as a table. `names`: the customers' names, for a column of customers."""
    rows = []
    for act in found:
        row = [
            cells.moment(ids.moment(act.id)),
            act.user_name,
            cells.code(act.act),
            act.subject,
            _changed(act),
            act.why or cells.NOTHING,
        ]
        if names is not None:
            shown = cells.customer(act.customer_id, names.get(act.customer_id)) if act.customer_id else cells.NOTHING
            row.insert(3, shown)
        rows.append(row)
    headers = ["when", "who", "action", "on what", "changes", "reason"]
    if names is not None:
        headers.insert(3, "customer")
    return {"headers": headers, "rows": rows}


def _changed(act: Act) -> SafeString:
    """The first few changes, before → after. The act's own page has all of them."""
    found = changes_of(act)
    shown = format_html_join("", "<li>{}: {} → {}</li>", (_in_words(change) for change in found[:_MAX_CHANGES]))
    if len(found) > _MAX_CHANGES:
        more = cells.link("act", f"all {len(found):,} changes", act.id)
        shown = format_html("{}<li>{}</li>", shown, more)
    return format_html('<ul class="c-changes">{}</ul>', shown) if found else cells.NOTHING


def _in_words(change: Change) -> Change:
    field, before, after = (Truncator(value).chars(_MAX_LETTERS) for value in change)
    return field, before or "nothing", after or "nothing"


def changes_of(act: Act) -> list[Change]:
    """What the act changed. Acts of earlier versions have field names without values, or rates in minor units."""
    noted = act.details.get("changes", [])
    if isinstance(noted, str):
        return [("changed", "not recorded", noted)] if noted else []
    return [_change_of(entry) for entry in noted]


def _change_of(entry: list[Any]) -> Change:
    if len(entry) != 4:
        return entry[0], entry[1], entry[2]
    owner, prefix, *prices = entry
    before, after = ("" if price is None else f"{price} minor units" for price in prices)
    return f"{prefix or 'all numbers'} for {owner or 'everybody'}", before, after


@console_page("console.view_act")
@read_only
def act_page(request: HttpRequest, act_id: UUID) -> HttpResponse:
    """All that one act changed."""
    act = Act.objects.filter(id=act_id).first()
    if act is None:
        raise Http404("No audit log entry has this id.")
    rows = [[field, before or cells.NOTHING, after or cells.NOTHING] for field, before, after in changes_of(act)]
    return page(
        request,
        "console/list.html",
        title=f"{act.act}: {act.subject}",
        note=f"By {act.user_name}, {ids.moment(act.id):%Y-%m-%d %H:%M:%S} UTC. {act.why}".strip(),
        table={"headers": ["changed", "before", "after"], "rows": rows},
        back=cells.url("acts"),
        empty="No values were changed.",
    )


@console_page("console.view_act")
@read_only
def acts_page(request: HttpRequest) -> HttpResponse:
    """Who did what, when and why."""
    form = filter_form(request, ActFilters)
    wanted = form.page()
    found = Act.objects.filter(id__gte=ids.lowest_id(wanted.since), id__lt=ids.lowest_id(wanted.until))
    if form.is_valid():
        chosen = form.cleaned_data
        if chosen["who"]:
            found = found.filter(user_name=chosen["who"])
        if chosen["customer"]:
            found = found.filter(customer_id=chosen["customer"])
        if wanted.before is not None:
            found = found.filter(id__lt=UUID(int=min(wanted.before, 2**128 - 1)))
    acts = list(found.order_by("-id")[: LIMIT + 1])
    shown = acts[:LIMIT]
    return page(
        request,
        "console/list.html",
        title="Audit log",
        form=form,
        table=act_table(shown, names_of(act.customer_id for act in shown if act.customer_id)),
        older=older_query(request, acts, shown[-1].id.int) if shown else "",
        empty="No entries in these days.",
    )
