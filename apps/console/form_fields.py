"""Form fields for prefixes and sender ids, read by the same rules as in the API."""

from __future__ import annotations

import re
from typing import Any, Final

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from unfold.widgets import UnfoldAdminTextInputWidget

from apps.sms import numbers, senders

MAX_PREFIXES: Final = 1000


class PrefixField(forms.CharField):
    """One prefix; empty for all numbers."""

    def __init__(self, **options: Any) -> None:
        super().__init__(widget=UnfoldAdminTextInputWidget, **options)

    def to_python(self, value: Any) -> Any:
        """The digits. Raises ValidationError."""
        return _prefix(value or "")


class PrefixesField(forms.CharField):
    """Prefixes separated by commas or spaces; a range such as 98910-98919 stands for each prefix in it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(widget=UnfoldAdminTextInputWidget, **options)

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(value) if isinstance(value, list) else value

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool((initial or []) != self.to_python(data))
        except ValidationError:
            return True

    def to_python(self, value: Any) -> Any:
        """The prefixes, sorted and without duplicates. Raises ValidationError."""
        found: set[str] = set()
        for part in re.split(r"[\s,;،؛]+", numbers.normalized(value or "")):
            if part:
                found.update(_range(part))
            if len(found) > MAX_PREFIXES:
                raise ValidationError(f"These are more than {MAX_PREFIXES} prefixes. Use fewer, shorter ones.")
        return sorted(found)


class SenderField(forms.CharField):
    """A sender id; empty for any."""

    def __init__(self, **options: Any) -> None:
        super().__init__(widget=UnfoldAdminTextInputWidget, **options)

    def to_python(self, value: Any) -> Any:
        """The sender id. Raises ValidationError."""
        text = super().to_python(value) or ""
        try:
            return senders.sender_id(text) if text else ""
        except senders.InvalidSender as reason:
            raise ValidationError(str(reason)) from None


def _range(part: str) -> list[str]:
    written, dash, end = part.partition("-")
    if not (written and (end or not dash) and re.fullmatch(r"[0-9+-]+", part)):
        raise ValidationError(f"{part!r} is neither a prefix, such as 98912, nor a range, such as 98910-98919.")
    first = _prefix(written)
    last = _prefix(end) if end else first
    if len(first) != len(last) or first > last:
        raise ValidationError(f"Both ends of the range {part} must have as many digits, the lower one first.")
    if int(last) - int(first) >= MAX_PREFIXES:
        raise ValidationError(f"The range {part} has more than {MAX_PREFIXES} prefixes; use shorter ones.")
    return [f"{number:0{len(first)}}" for number in range(int(first), int(last) + 1)]


def _prefix(text: str) -> str:
    try:
        return numbers.plan_of(settings.CONFIG.sms).to_prefix(text)
    except numbers.InvalidPrefix as reason:
        raise ValidationError(f"{reason}.") from None
