"""Django's own forms with the audit log: every addition, change and deletion is recorded in its transaction.

Each entry has the values before and after. A change locks the object's row first, so that no other change comes between
the values before and after.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from django.db import connection, transaction
from django.db.models import QuerySet
from django.forms.models import _get_foreign_key
from django.http import HttpRequest, HttpResponseBase
from unfold import paginator as unfold_paginator
from unfold.admin import ModelAdmin

from apps.console import changes
from apps.console.audit import act_note
from apps.console.customer_field import CustomerSelect
from apps.customers.models import Customer

_CHANGES_ATTRIBUTE: Final = "_console_changes"


class UncountedPage(unfold_paginator.InfinitePage):  # type: ignore[misc]  # unfold has no types
    """Knows no total: there is a next page if this one is full."""

    def has_next(self) -> bool:
        return bool(len(self.object_list) >= self.paginator.per_page)


class InfinitePaginator(unfold_paginator.InfinitePaginator):  # type: ignore[misc]  # unfold has no types
    """Must have unfold's name: its header then shows no total, which nobody has counted."""

    def _get_page(self, *args: Any, **kwargs: Any) -> UncountedPage:
        return UncountedPage(*args, **kwargs)


class AuditedAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """Lists without counting; changes are recorded in the audit log."""

    paginator = InfinitePaginator
    show_full_result_count = False
    list_per_page = 50

    def value_shown(self, _name: str, value: Any) -> str:
        """How the audit log shows a value of the named field."""
        return changes.shown(value)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        found = super().get_object(request, object_id, from_field)
        if found is None or request.method != "POST" or not connection.in_atomic_block:
            return found
        self.model._base_manager.select_for_update(no_key=True).filter(pk=found.pk).first()
        return super().get_object(request, object_id, from_field)

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        found_changes = changes.form_changes(form, show=self.value_shown, adding=add)
        for formset in formsets or ():
            found_changes += changes.formset_changes(formset, show=self.value_shown)
        setattr(request, _CHANGES_ATTRIBUTE, found_changes)  # read by log_addition and log_change
        return super().construct_change_message(request, form, formsets, add)

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.related_model is Customer:
            kwargs.setdefault("widget", CustomerSelect(db_field, self.admin_site, using=kwargs.get("using")))
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        self._note(request, "add", obj, getattr(request, _CHANGES_ATTRIBUTE, ()))
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        self._note(request, "change", obj, getattr(request, _CHANGES_ATTRIBUTE, ()))
        return super().log_change(request, obj, message)

    def log_deletions(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        for obj in queryset:
            found_changes = changes.object_changes(obj, show=self.value_shown)
            for inline in self.get_inline_instances(request, obj):
                key = _get_foreign_key(self.model, inline.model).name
                for part in inline.model._base_manager.filter(**{key: obj}):
                    label = f"{inline.model._meta.verbose_name} {part}: "
                    found_changes += changes.object_changes(part, show=self.value_shown, label=label)
            self._note(request, "delete", obj, found_changes)
        return super().log_deletions(request, queryset)

    def response_action(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponseBase | None:
        with transaction.atomic():  # the action and its audit log entry
            answer: HttpResponseBase | None = super().response_action(request, queryset)
        return answer

    def _note(self, request: HttpRequest, verb: str, obj: Any, found_changes: Iterable[changes.Change]) -> None:
        customer_id = obj.pk if self.opts.model_name == "customer" else getattr(obj, "customer_id", None)
        act_note(
            request=request,
            act=f"{self.opts.model_name}.{verb}",
            subject=str(obj),
            customer_id=customer_id,
            changes=found_changes,
        )
