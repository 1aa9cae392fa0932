"""Customers in the admin: to look at, and to choose from."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from apps.customers.models import Customer
from smsgateway import ids


@admin.register(Customer)
class CustomerAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """Read only. Searched by name, or by the whole id."""

    list_display = ("name", "ulid", "status", "segments_per_second", "messages_per_minute", "created_at")
    list_filter = ("status",)
    search_fields = ("name",)
    search_help_text = "A part of the name, or the id of 26 characters."
    ordering = ("name",)
    fields = ("name", "ulid", "status", "segments_per_second", "messages_per_minute", "created_at")

    @admin.display(description="id")
    def ulid(self, customer: Customer) -> str:
        return ids.to_text(customer.id)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Customer], search_term: str
    ) -> tuple[QuerySet[Customer], bool]:
        try:
            customer_id = ids.from_text(search_term.strip())
        except ValueError:
            found: tuple[QuerySet[Customer], bool] = super().get_search_results(request, queryset, search_term)
            return found
        return queryset.filter(id=customer_id), False

    def has_add_permission(self, _request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, _request: HttpRequest, _customer: Any = None) -> bool:
        return False

    def has_delete_permission(self, _request: HttpRequest, _customer: Any = None) -> bool:
        return False
