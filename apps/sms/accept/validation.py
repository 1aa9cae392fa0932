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
from smsgateway.config.groups import Sms
from smsgateway.config.partitioning import SEND_AHEAD_DAYS
from smsgateway.http.field_errors import FieldError, fault

MAX_AHEAD: Final = dt.timedelta(days=SEND_AHEAD_DAYS)

NO_CUSTOMER_ID: Final = fault("customer_id", "invalid_id", "A customer's id is a ULID: 26 letters and digits.")


def check(name: str, value: Any, document: dict[str, Any], *, config: Sms) -> list[FieldError]:
    """What is wrong with the value of a field, which has the right type: see `smsgateway.http.body.Check`."""
    if name not in CHECKS:
        return []
    return CHECKS[name](_as_sent(value, document) if name == "text" else value, config)


def _as_sent(text: str, document: dict[str, Any]) -> str:
    if document.get("transliterate") is not True:
        return text
    wish: encoding.Wish = encoding.UCS2 if document.get("encoding") == encoding.UCS2 else encoding.AUTO
    return encoding.prepare(text, transliterate=True, wish=wish)


def too_long(field: str, length: int, longest: int, unit: str = "characters") -> FieldError:
    """The field is longer than is taken."""
    return fault(field, "too_long", f"It has {length} {unit}, at most {longest} are taken.")


def _of_customer_id(value: str, _config: Sms) -> list[FieldError]:
    try:
        ids.from_text(value)
    except ValueError:
        return [NO_CUSTOMER_ID]
    return []


def of_number(reason: numbers.NotMobile) -> FieldError:
    """The recipient is no mobile number."""
    return fault("to", "invalid_number", f"The number {reason}.")


def _of_to(value: str | list[Any], config: Sms) -> list[FieldError]:
    if isinstance(value, str):
        try:
            numbers.plan_of(config).to_e164(value)
        except numbers.NotMobile as reason:
            return [of_number(reason)]
    return []


def of_sender(reason: senders.InvalidSender) -> FieldError:
    """The sender id cannot be sent."""
    return fault("from", "invalid_sender", str(reason))


def _of_from(value: str, _config: Sms) -> list[FieldError]:
    try:
        if value:  # an empty one is no sender
            senders.sender_id(value)
    except senders.InvalidSender as reason:
        return [of_sender(reason)]
    return []


def of_text(value: str, config: Sms) -> list[FieldError]:
    """The text, as it would be sent, is empty, too long, or has what no database keeps."""
    if not value:
        return [fault("text", "empty", "Nothing of it is left to send.")]
    found = [too_long("text", len(value), config.max_length)] if len(value) > config.max_length else []
    return found + _nul("text", value)


def _nul(field: str, value: str) -> list[FieldError]:
    if "\x00" not in value:
        return []
    return [fault(field, "invalid_characters", "It has a NUL character, which no database text keeps.")]


def of_callback_url(value: str, _config: Sms) -> list[FieldError]:
    """The address is none that may be called."""
    return url_errors("callback_url", value) if value else []


def of_metadata(value: dict[str, str], _config: Sms) -> list[FieldError]:
    """A key or a value has what no database keeps."""
    return _nul("metadata", "".join(part for pair in value.items() for part in pair))


def _of_send_at(value: dt.datetime, _config: Sms) -> list[FieldError]:
    return of_send_at(value, now=dt.datetime.now(tz=dt.UTC))


def of_send_at(value: dt.datetime, *, now: dt.datetime) -> list[FieldError]:
    """The time is over, or too far ahead."""
    if now < value <= now + MAX_AHEAD:
        return []
    return [fault("send_at", "out_of_range", f"It must lie ahead, by {MAX_AHEAD.days} days at most.")]


CHECKS: Final[dict[str, Callable[[Any, Sms], list[FieldError]]]] = {
    "customer_id": _of_customer_id,
    "to": _of_to,
    "text": of_text,
    "from": _of_from,
    "reference": lambda value, _config: _nul("reference", value),
    "send_at": _of_send_at,
    "callback_url": of_callback_url,
    "metadata": of_metadata,
}
