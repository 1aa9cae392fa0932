"""What is wrong with one field, as it stands in a problem document's `errors`."""

from __future__ import annotations

from typing import Final

FieldError = dict[str, str]

MEND: Final = "Fix the named fields and send again."


def fault(field: str, code: str, reason: str) -> FieldError:
    """`field` as the caller wrote it, a stable `code`, and the `reason` for people."""
    return {"field": field, "code": code, "reason": reason}
