"""Forms of routes: prefixes as text, connections chosen from the configured ones."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from unfold.widgets import UnfoldAdminSelectWidget

from apps.console.form_fields import PrefixesField, SenderField
from apps.sms import events
from apps.sms.models import Route, RouteTarget
from apps.sms.routing.database import connection_names
from apps.sms.routing.publisher import routes_too_large
from smsgateway import ids


class ConnectionField(forms.ChoiceField):
    """One of the configured operator connections."""

    def __init__(self, *, empty: str = "", **options: Any) -> None:
        self._empty = empty
        super().__init__(choices=self._offered, widget=UnfoldAdminSelectWidget, **options)

    def _offered(self) -> list[tuple[str, str]]:
        return [("", self._empty or "---------"), *((name, name) for name in connection_names(settings.CONFIG))]

    def keep_showing(self, name: str) -> None:
        """Offer a route's connection even if it is no longer configured, so that people see what is wrong."""
        if name and name not in connection_names(settings.CONFIG):
            self.choices = [*self._offered(), (name, f"{name} (not configured)")]

    def validate(self, value: Any) -> None:
        names = connection_names(settings.CONFIG)
        if value and value not in names:
            raise ValidationError(f"No operator connection is named {value!r}. Configured are: {', '.join(names)}.")
        super().validate(value)


class RouteForm(forms.ModelForm):  # type: ignore[type-arg]  # at run time it takes none
    prefixes = PrefixesField(
        required=False,
        help_text="First digits of the number in E.164, such as 98912, 98990-98994. Empty: any number.",
    )
    sender = SenderField(required=False, label="sender id", help_text="Exactly this sender id. Empty: any.")
    carrier = ConnectionField(required=False, empty="any", help_text="Operator that the number's prefix belongs to.")

    class Meta:
        model = Route
        fields = ("rank", "enabled", "note", "prefixes", "carrier", "customer", "sender")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "carrier" in self.fields:  # people who may only view it have no fields
            self.fields["carrier"].keep_showing(self.instance.carrier)  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        """Refuse a routing table too large to publish: workers would silently keep using the previous one."""
        found: dict[str, Any] = super().clean() or self.cleaned_data
        if found.get("enabled") and "prefixes" in found:
            targets = tuple(events.RouteTarget(operator=name) for name in connection_names(settings.CONFIG))
            customer = found.get("customer")
            route = events.Route(
                id=self.instance.pk or 0,
                rank=found.get("rank") or 0,
                customer_id=ids.to_text(customer.pk) if customer else "",
                prefixes=tuple(found["prefixes"]),
                sender=found.get("sender", ""),
                carrier=found.get("carrier", ""),
                targets=targets,
            )
            if reason := routes_too_large(route=route, instead_of=self.instance.pk):
                raise ValidationError(reason)
        return found


class RouteTargetForm(forms.ModelForm):  # type: ignore[type-arg]  # at run time it takes none
    operator = ConnectionField(label="connection")

    class Meta:
        model = RouteTarget
        fields = ("operator", "preference", "weight")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "operator" in self.fields:
            self.fields["operator"].keep_showing(self.instance.operator)  # type: ignore[attr-defined]
