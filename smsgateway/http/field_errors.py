"""The entries of a problem document's `errors`: what is wrong with one field."""

from __future__ import annotations

from typing import Final

FieldError = dict[str, str]

FIX_FIELDS: Final = "Fix the listed fields and try again."


def fault(field: str, code: str, reason: str) -> FieldError:
    """An entry: `field` as the caller wrote it, a stable `code`, and a `reason` for people."""
    return {"field": field, "code": code, "reason": reason}
