"""Texts into templates, and values out of documents."""

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
    """A decoded JSON template, filled. Values stand inside its texts, so that none can change its shape.

    A text that is one placeholder and nothing else becomes the value itself: `"{dcs}"` a number.
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


def find(document: object, path: str) -> str | None:
    """The text or whole number at a path such as `result.0.id`, as text; None if there is none."""
    for step in path.split("."):
        if isinstance(document, dict):
            document = document.get(step)
        elif isinstance(document, list) and step.isascii() and step.isdigit() and int(step) < len(document):
            document = document[int(step)]
        else:
            return None
    if isinstance(document, bool) or not isinstance(document, str | int):
        return None
    return str(document)
