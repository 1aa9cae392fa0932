"""The values of a message that operators' templates may use."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from apps.sms import encoding
from apps.sms.events import DeliveryRequested

_PLACEHOLDER: Final = re.compile(r"\{([\w.]+)\}")
_DATA_CODING: Final = {encoding.GSM7: 0, encoding.UCS2: 8}
_METADATA: Final = "metadata."

Values = Mapping[str, str | int]


def values_of(message: DeliveryRequested) -> Values:
    """Every value by its placeholder's name."""
    of_caller = {_METADATA + name: value for name, value in message.metadata.items()}
    return of_caller | {
        "reference": message.message_id,
        "sender": message.sender,
        "recipient": message.to,
        "recipient_digits": message.to.removeprefix("+"),
        "text": message.text,
        "encoding": message.encoding,
        "dcs": _DATA_CODING[message.encoding],
        "segments": message.segments,
        "validity": max(1, message.expires_at // 1000 - int(time.time())),
    }


def fill_text(template: str, values: Values) -> str:
    """The template with each `{name}` replaced by its value."""
    return _PLACEHOLDER.sub(lambda match: str(_value(match[1], values)), template)


def fill_url(template: str, values: Values) -> str:
    """The template with each `{name}` replaced by its value, percent-encoded."""
    return _PLACEHOLDER.sub(lambda match: quote(str(_value(match[1], values)), safe=""), template)


def fill(template: object, values: Values) -> object:
    """Fill a decoded JSON template. Placeholders stand inside its texts, so no value can change the template's shape.

    A text that consists of one placeholder becomes the value itself: `"{dcs}"` becomes a number.
    """
    match template:
        case str():
            if whole := _PLACEHOLDER.fullmatch(template):
                return _value(whole[1], values)
            return fill_text(template, values)
        case dict():
            return {key: fill(value, values) for key, value in template.items()}
        case list():
            return [fill(value, values) for value in template]
        case _:
            return template


def _value(name: str, values: Values) -> str | int:
    """A value; empty for a field that the message's metadata lacks."""
    return values.get(name, "") if name.startswith(_METADATA) else values[name]
