"""Checks the values of a message's fields, beyond their types.

The same checks run on a request that was decoded (`apps.sms.accept.drafts`), and on one that was not, so that its
response names every wrong field (`check`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any, Final

from apps.customers.callback_urls import url_errors
from apps.sms import encoding, numbers, senders
from smsgateway import ids
from smsgateway.config.partitioning import SEND_AHEAD_DAYS
from smsgateway.config.settings import Sms
from smsgateway.http.field_errors import FieldError, fault

MAX_AHEAD: Final = dt.timedelta(days=SEND_AHEAD_DAYS)

NO_CUSTOMER_ID: Final = fault("customer_id", "invalid_id", "A customer's id is a ULID: 26 letters and digits.")


def check(name: str, value: Any, document: dict[str, Any], *, config: Sms) -> list[FieldError]:
    """The errors of a field whose value has the right type: see `smsgateway.http.body.Check`."""
    if name not in CHECKS:
        return []
    return CHECKS[name](_as_sent(value, document) if name == "text" else value, config)


def _as_sent(text: str, document: dict[str, Any]) -> str:
    if document.get("transliterate") is not True:
        return text
    wish: encoding.Wish = encoding.UCS2 if document.get("encoding") == encoding.UCS2 else encoding.AUTO
    return encoding.prepare(text, transliterate=True, wish=wish)


def _customer_id_errors(value: str, _config: Sms) -> list[FieldError]:
    try:
        ids.from_text(value)
    except ValueError:
        return [NO_CUSTOMER_ID]
    return []


def number_error(reason: numbers.NotMobile) -> FieldError:
    """The error of a recipient that is not a mobile number."""
    return fault("to", "invalid_number", f"The number {reason}.")


def _to_errors(value: str | list[Any], config: Sms) -> list[FieldError]:
    if isinstance(value, str):  # the recipients of a list are checked one by one, later
        try:
            numbers.plan_of(config).to_e164(value)
        except numbers.NotMobile as reason:
            return [number_error(reason)]
    return []


def sender_error(reason: senders.InvalidSender) -> FieldError:
    """The error of a sender id that cannot be sent."""
    return fault("from", "invalid_sender", str(reason))


def _from_errors(value: str, _config: Sms) -> list[FieldError]:
    try:
        if value:  # an empty one means no sender
            senders.sender_id(value)
    except senders.InvalidSender as reason:
        return [sender_error(reason)]
    return []


def text_errors(value: str, config: Sms) -> list[FieldError]:
    """The errors of a text, as it would be sent: empty, too long, or with a NUL."""
    if not value:
        return [fault("text", "empty", "After transliteration no text is left to send.")]
    found = []
    if len(value) > config.max_length:
        reason = f"It has {len(value)} characters, at most {config.max_length} are allowed."
        found.append(fault("text", "too_long", reason))
    return found + _nul_errors("text", value)


def _nul_errors(field: str, value: str) -> list[FieldError]:
    if "\x00" not in value:
        return []
    return [fault(field, "invalid_characters", "It has a NUL character, which the database cannot store.")]


def callback_url_errors(value: str, _config: Sms) -> list[FieldError]:
    """The error of a URL that must not be called. An empty one means the customer's endpoint."""
    return url_errors("callback_url", value) if value else []


def metadata_errors(value: dict[str, str], _config: Sms) -> list[FieldError]:
    """The error of metadata with a NUL in a key or a value."""
    return _nul_errors("metadata", "".join(part for pair in value.items() for part in pair))


def reference_errors(value: str, _config: Sms) -> list[FieldError]:
    """The error of a reference with a NUL."""
    return _nul_errors("reference", value)


def _send_at_errors(value: dt.datetime, _config: Sms) -> list[FieldError]:
    return send_at_errors(value, now=dt.datetime.now(tz=dt.UTC))


def send_at_errors(value: dt.datetime, *, now: dt.datetime) -> list[FieldError]:
    """The error of a time that has passed or is too far ahead."""
    if now < value <= now + MAX_AHEAD:
        return []
    return [fault("send_at", "out_of_range", f"It must be in the future, at most {MAX_AHEAD.days} days ahead.")]


CHECKS: Final[dict[str, Callable[[Any, Sms], list[FieldError]]]] = {
    "customer_id": _customer_id_errors,
    "to": _to_errors,
    "text": text_errors,
    "from": _from_errors,
    "reference": reference_errors,
    "send_at": _send_at_errors,
    "callback_url": callback_url_errors,
    "metadata": metadata_errors,
}
