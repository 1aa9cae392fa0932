"""Routes, edited while the workers run."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import TabularInline

from apps.console import cells
from apps.console.admin_base import AuditedAdmin
from apps.console.route_forms import RouteForm, RouteTargetForm
from apps.sms.models import Route, RouteTarget


class RouteTargetInline(TabularInline):  # type: ignore[misc]  # unfold has no types
    model = RouteTarget
    form = RouteTargetForm
    min_num = 1
    validate_min = True
    extra = 1

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        return super().get_formset(request, obj, validate_min=True, **kwargs)


@admin.register(Route)
class RouteAdmin(AuditedAdmin):
    """Workers follow a change within seconds, without a restart. How one is chosen: docs/reference/routing.md."""

    form = RouteForm
    inlines = (RouteTargetInline,)
    list_display = ("rank", "conditions", "leads_to", "enabled", "note")
    list_display_links = ("rank", "conditions")
    list_filter = ("enabled", ("customer", admin.EmptyFieldListFilter))
    list_select_related = ("customer",)
    search_fields = ("customer__name", "sender", "carrier", "note", "targets__operator")
    autocomplete_fields = ("customer",)
    fieldsets = (
        (None, {"fields": ("rank", "enabled", "note")}),
        (
            "Conditions that must all match",
            {"fields": ("prefixes", "carrier", "customer", "sender")},
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Route]:
        found: QuerySet[Route] = super().get_queryset(request).prefetch_related("targets")
        return found

    @admin.display(description="matches")
    def conditions(self, route: Route) -> str:
        shown = [
            f"to {', '.join(map(cells.prefix, route.prefixes))}" if route.prefixes else "",
            f"of {route.carrier}'s numbers" if route.carrier else "",
            f"from {route.customer}" if route.customer else "",
            f"sent as {route.sender}" if route.sender else "",
        ]
        return "; ".join(filter(None, shown)) or "all"

    @admin.display(description="operators")
    def leads_to(self, route: Route) -> str:
        steps: dict[int, list[str]] = {}
        for target in route.targets.all():
            steps.setdefault(target.preference, []).append(f"{target.operator} ({target.weight})")
        return ", then ".join(" + ".join(step) for _, step in sorted(steps.items())) or "no operator"
