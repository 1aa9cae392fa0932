"""Amounts in forms: people type major units, the code gets minor units."""

from __future__ import annotations

from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminTextInputWidget

from smsgateway import money


class MoneyField(forms.CharField):
    """An amount typed in major units. Its value and its initial value are in minor units."""

    def __init__(self, currency: str, **options: Any) -> None:
        self.currency = currency
        widget = UnfoldAdminTextInputWidget(attrs={"inputmode": "decimal", "autocomplete": "off", "class": "c-amount"})
        super().__init__(widget=widget, max_length=40, **options)

    def prepare_value(self, value: Any) -> Any:
        return money.for_input(value, self.currency) if isinstance(value, int) else value

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool(self.clean(data) != initial)
        except forms.ValidationError:
            return True

    def clean(self, value: Any) -> int | None:
        text = str(super().clean(value) or "")
        try:
            return money.read(text, self.currency) if text else None
        except money.InvalidMoney as error:
            raise forms.ValidationError(str(error)) from None
