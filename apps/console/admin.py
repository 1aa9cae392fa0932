"""Registers the console's lists, forms and start page with the admin site."""

from __future__ import annotations

from django.contrib import admin

from apps.console.pages import customers, rates, routes, users

__all__ = ["customers", "rates", "routes", "users"]

admin.site.index_template = "console/start.html"
admin.site.index_title = "Today"
