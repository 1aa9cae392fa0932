"""Messages that do not move on: late ones without a final status, held, in the outbox, or scheduled and overdue."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.http import HttpRequest, HttpResponse

from apps.console import cells
from apps.console.access import console_page, page
from apps.console.listing import names_of
from apps.console.pages.start import gateway_state
from apps.console.state import queues


@console_page("console.view_gateway", "sms.view_message")
def stuck_page(request: HttpRequest) -> HttpResponse:
    """All stuck messages, by what they wait for."""
    late = gateway_state()["late"]
    late_rows = [
        [row.operator, f"{row.messages:,}", cells.moment(row.oldest), _around(row)] for row in late.value or []
    ]
    return page(
        request,
        "console/stuck.html",
        title="Stuck messages",
        late={"headers": ["first operator", "messages", "oldest accepted at", ""], "rows": late_rows},
        late_error=late.error,
        outbox=_waiting(queues.outbox_oldest()),
        overdue=_waiting(queues.overdue()),
        held=_held(),
    )


def _held() -> dict[str, Any]:
    rows = queues.held()
    names = names_of(row.customer_id for row in rows)
    return {
        "headers": ["customer", "messages", "oldest held since", "next expires", ""],
        "rows": [
            [
                cells.customer(row.customer_id, names.get(row.customer_id)),
                f"{row.messages:,}{'+' if row.is_more else ''}",
                cells.moment(row.oldest),
                cells.moment(row.next_expires),
                cells.link("waiting", "show", row.customer_id),
            ]
            for row in rows
        ],
    }


def _around(row: Any) -> Any:
    day = row.oldest.date().isoformat()
    return cells.link("messages", "messages of that day", since=day, until=day)


def _waiting(found: Iterable[queues.Waiting]) -> dict[str, Any]:
    rows = list(found)
    names = names_of(row.customer_id for row in rows)
    return {
        "headers": ["since", "message", "customer", "state"],
        "rows": [
            [
                cells.moment(row.since),
                cells.message(row.message_id),
                cells.customer(row.customer_id, names.get(row.customer_id)),
                row.what,
            ]
            for row in rows
        ],
    }
