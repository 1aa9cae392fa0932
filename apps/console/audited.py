"""Django's own forms with the audit log: every addition, change and deletion is noted in its transaction."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.models import LogEntry
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase
from unfold import paginator as unfold_paginator
from unfold.admin import ModelAdmin

from apps.console.audit import act_note
from apps.console.customer_field import CustomerSelect
from apps.customers.models import Customer


class UncountedPage(unfold_paginator.InfinitePage):  # type: ignore[misc]  # unfold has no types
    """There is a next page if this one is full."""

    def has_next(self) -> bool:
        return bool(len(self.object_list) >= self.paginator.per_page)


class InfinitePaginator(unfold_paginator.InfinitePaginator):  # type: ignore[misc]  # unfold has no types
    """The name is unfold's: its header asks for it before it tells how many there are, which nobody knows."""

    def _get_page(self, *args: Any, **kwargs: Any) -> UncountedPage:
        return UncountedPage(*args, **kwargs)


class AuditedAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """Lists without counting."""

    paginator = InfinitePaginator
    show_full_result_count = False
    list_per_page = 50

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.related_model is Customer:
            kwargs.setdefault("widget", CustomerSelect(db_field, self.admin_site, using=kwargs.get("using")))
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        entry = super().log_addition(request, obj, message)
        self._note(request, "add", obj, entry)
        return entry

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        entry = super().log_change(request, obj, message)
        self._note(request, "change", obj, entry)
        return entry

    def log_deletions(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        for obj in queryset:
            self._note(request, "delete", obj, None)
        return super().log_deletions(request, queryset)

    def response_action(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponseBase | None:
        with transaction.atomic():  # what an action does and that it was done
            answer: HttpResponseBase | None = super().response_action(request, queryset)
        return answer

    def _note(self, request: HttpRequest, verb: str, obj: Any, entry: LogEntry | None) -> None:
        customer_id = obj.pk if self.opts.model_name == "customer" else getattr(obj, "customer_id", None)
        told = entry.get_change_message() if entry is not None else ""
        act_note(
            request=request,
            act=f"{self.opts.model_name}.{verb}",
            subject=str(obj),
            customer_id=customer_id,
            changes=told,
        )
