"""The audit log: what people did, the newest first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import Truncator

from apps.console import cells
from apps.console.access import console_page, page, reads
from apps.console.changes import Change
from apps.console.listing import LIMIT, RangeForm, filters, names_of, older, text_field, ulid_field
from apps.console.models import Act
from smsgateway import ids

_CHANGES: Final = 6
_LONGEST: Final = 300


class ActFilters(RangeForm):
    days = 31
    who = text_field("Who", max_length=150)
    customer = ulid_field("Customer's id")


def act_rows(found: Iterable[Act], names: dict[UUID, str] | None = None) -> dict[str, Any]:
    """Acts as a table; with the customers' names where several are concerned."""
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
    headers = ["when", "who", "act", "what", "changed", "why"]
    if names is not None:
        headers.insert(3, "customer")
    return {"headers": headers, "rows": rows}


def _changed(act: Act) -> SafeString:
    """The first changes, each with the value before and after; all of them are on the act's own page."""
    found = changes_of(act)
    shown = format_html_join("", "<li>{}: {} → {}</li>", (_in_words(change) for change in found[:_CHANGES]))
    if len(found) > _CHANGES:
        more = cells.link("act", f"all {len(found):,} changes", act.id)
        shown = format_html("{}<li>{}</li>", shown, more)
    return format_html('<ul class="c-changes">{}</ul>', shown) if found else cells.NOTHING


def _in_words(change: Change) -> Change:
    field, before, after = (Truncator(value).chars(_LONGEST) for value in change)
    return field, before or "nothing", after or "nothing"


def changes_of(act: Act) -> list[Change]:
    """What the act changed. Acts of earlier versions name fields without values, or rates in minor units."""
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
@reads
def act_page(request: HttpRequest, act_id: UUID) -> HttpResponse:
    """All that one act changed."""
    act = Act.objects.filter(id=act_id).first()
    if act is None:
        raise Http404("No act has this id.")
    rows = [[field, before or cells.NOTHING, after or cells.NOTHING] for field, before, after in changes_of(act)]
    return page(
        request,
        "console/list.html",
        title=f"{act.act}: {act.subject}",
        note=f"By {act.user_name}, {ids.moment(act.id):%Y-%m-%d %H:%M:%S} UTC. {act.why}".strip(),
        table={"headers": ["changed", "before", "after"], "rows": rows},
        back=cells.url("acts"),
        empty="It changed no values.",
    )


@console_page("console.view_act")
@reads
def acts_page(request: HttpRequest) -> HttpResponse:
    """Who did what, when and why."""
    form = filters(request, ActFilters)
    asked = form.page()
    found = Act.objects.filter(id__gte=ids.lowest_id(asked.since), id__lt=ids.lowest_id(asked.until))
    if form.is_valid():
        chosen = form.cleaned_data
        if chosen["who"]:
            found = found.filter(user_name=chosen["who"])
        if chosen["customer"]:
            found = found.filter(customer_id=chosen["customer"])
        if asked.before is not None:
            found = found.filter(id__lt=UUID(int=min(asked.before, 2**128 - 1)))
    acts = list(found.order_by("-id")[: LIMIT + 1])
    shown = acts[:LIMIT]
    return page(
        request,
        "console/list.html",
        title="Audit log",
        form=form,
        table=act_rows(shown, names_of(act.customer_id for act in shown if act.customer_id)),
        older=older(request, acts, shown[-1].id.int) if shown else "",
        empty="Nobody did anything in these days.",
    )
