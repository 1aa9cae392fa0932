"""Templates of requests, filled with a message's values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

_PLACEHOLDER: Final = re.compile(r"\{(\w+)\}")

Values = Mapping[str, str | int]


def fill_url(template: str, values: Values) -> str:
    """The template with each `{name}` replaced by its value, percent-encoded."""
    return _PLACEHOLDER.sub(lambda match: quote(str(values[match[1]]), safe=""), template)


def fill(template: object, values: Values) -> object:
    """Fill a decoded JSON template. Placeholders stand inside its texts, so no value can change the template's shape.

    A text that consists of one placeholder becomes the value itself: `"{dcs}"` becomes a number.
    """
    match template:
        case str():
            if whole := _PLACEHOLDER.fullmatch(template):
                return values[whole[1]]
            return _PLACEHOLDER.sub(lambda match: str(values[match[1]]), template)
        case dict():
            return {key: fill(value, values) for key, value in template.items()}
        case list():
            return [fill(value, values) for value in template]
        case _:
            return template
