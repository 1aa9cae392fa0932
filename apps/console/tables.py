"""Tables that several pages show: messages, ledger entries, callbacks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from django.utils.html import format_html

from apps.balance.models import LedgerEntry
from apps.console import cells
from apps.sms.callbacks.payload import event_type
from apps.sms.messages.selectors import Listed
from apps.sms.models import Callback
from smsgateway import ids

Table = dict[str, Any]


def message_table(found: Iterable[Listed], *, currency: str, names: Mapping[UUID, str] | None = None) -> Table:
    """Messages. `names`: the names of their customers, for a column of customers."""
    rows = []
    for listed in found:
        message = listed.message
        row = [
            cells.moment(ids.moment(message.id)),
            cells.message(message.id),
            cells.label(listed.status),
            cells.code(message.recipient),
            message.operator,
            cells.amount(message.cost, currency),
        ]
        if names is not None:
            row.insert(2, cells.customer(message.customer_id, names.get(message.customer_id)))
        rows.append(row)
    headers = ["accepted", "message", "status", "to", "operator", "cost"]
    if names is not None:
        headers.insert(2, "customer")
    return {"headers": headers, "rows": rows}


def ledger_table(entries: Iterable[LedgerEntry], currency: str) -> Table:
    """Entries of one account, with the balance after each."""
    rows = [
        [
            f"{entry.entry:,}",
            cells.moment(ids.moment(entry.id)),
            cells.label(entry.kind),
            cells.amount(entry.amount, currency),
            cells.amount(entry.balance_after, currency),
            cells.message(entry.message_id) if entry.message_id else entry.reference,
        ]
        for entry in entries
    ]
    return {"headers": ["entry", "at", "kind", "amount", "balance after", "reference"], "rows": rows}


def callback_table(found: Iterable[Callback]) -> Table:
    """Callbacks, and the results of their last tries."""
    rows = [
        [
            cells.moment(ids.moment(callback.id)),
            format_html(
                '<a class="c-link" href="{}">{}</a>',
                cells.url("callback", callback.id),
                event_type(callback.event),
            ),
            cells.message(callback.message_id),
            cells.label(callback.status),
            f"{callback.attempts}",
            callback_answer(callback),
        ]
        for callback in found
    ]
    return {"headers": ["created", "event", "message", "status", "tries", "last answer"], "rows": rows}


def callback_answer(callback: Callback) -> str:
    """What its endpoint answered to the last try."""
    parts = [str(callback.last_http_status or ""), callback.last_error]
    return " ".join(filter(None, parts)) or ("not tried yet" if not callback.attempts else "")
