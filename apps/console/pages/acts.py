"""The audit log: what people did, the newest first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse

from apps.console import cells
from apps.console.access import console_page, page, reads
from apps.console.listing import LIMIT, RangeForm, filters, names_of, older, text_field, ulid_field
from apps.console.models import Act
from smsgateway import ids


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
            act.why or cells.NOTHING,
        ]
        if names is not None:
            shown = cells.customer(act.customer_id, names.get(act.customer_id)) if act.customer_id else cells.NOTHING
            row.insert(3, shown)
        rows.append(row)
    headers = ["when", "who", "act", "what", "why"]
    if names is not None:
        headers.insert(3, "customer")
    return {"headers": headers, "rows": rows}


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
