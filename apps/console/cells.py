"""Contents of tables and lists of facts, as safe HTML: links, amounts, times, statuses."""

from __future__ import annotations

import datetime as dt
from typing import Final
from uuid import UUID

from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from smsgateway import ids, money

_COLORS: Final = {
    **dict.fromkeys(("active", "delivered", "topup", "ok", "closed", "in use", "bound"), "good"),
    **dict.fromkeys(
        ("suspended", "failed", "rejected", "undelivered", "revoked", "down", "unbound", "open", "low"), "bad"
    ),
    **dict.fromkeys(("expired", "unknown", "pending", "rotated", "late"), "odd"),
    **dict.fromkeys(
        ("submitted", "accepted", "queued", "scheduled", "refund", "adjustment", "added", "changed", "waiting"), "calm"
    ),
}
NOTHING: Final = format_html('<span class="c-none">{}</span>', "–")


def link(name: str, text: object, *arguments: object, **query: str) -> SafeString:
    """A link to a page of the console."""
    return format_html('<a class="c-link" href="{}">{}</a>', url(name, *arguments, **query), text)


def url(name: str, *arguments: object, **query: str) -> str:
    """The address of a page of the console."""
    return reverse(f"console:{name}", args=arguments, query=query or None)


def label(status: str) -> SafeString:
    """A status as a coloured label."""
    return format_html('<span class="c-label c-{}">{}</span>', _COLORS.get(status, "dull"), status)


def code(text: str) -> SafeString:
    """An id, a number or an error code."""
    return format_html('<code class="c-code">{}</code>', text) if text else NOTHING


def prefix(digits: str) -> str:
    """A prefix of numbers. Earlier versions stored some that cannot match any number."""
    return f"{digits} (matches no number)" if digits.startswith("0") else digits


def moment(when: dt.datetime | None) -> SafeString:
    """A moment in UTC, to the second."""
    if when is None:
        return NOTHING
    when = when.astimezone(dt.UTC)
    return format_html(
        '<time class="c-time" datetime="{}" title="{}">{}</time>',
        when.isoformat(timespec="milliseconds"),
        f"{when:%A} {when.isoformat(sep=' ', timespec='milliseconds')}",
        f"{when:%Y-%m-%d %H:%M:%S}",
    )


def amount(minor: int, currency: str) -> SafeString:
    """An amount in major units; a negative one is highlighted."""
    kind = "c-minus" if minor < 0 else ""
    return format_html('<span class="c-money {}">{}</span>', kind, money.with_currency(minor, currency))


def message(message_id: UUID | None) -> SafeString:
    """A link to a message."""
    if message_id is None:
        return NOTHING
    text = ids.to_text(message_id)
    return format_html('<a class="c-link c-code" href="{}">{}</a>', url("message", message_id), text)


def customer(customer_id: UUID, name: str | None = None) -> SafeString:
    """A link to a customer, with its name if known."""
    text = ids.to_text(customer_id)
    return format_html('<a class="c-link" href="{}">{}</a>', url("customer", customer_id), name or text)
