"""What the admin's site knows of the console: its own lists and forms, and the start page."""

from __future__ import annotations

from django.contrib import admin

from apps.console.pages import customers, people, rates, routes

__all__ = ["customers", "people", "rates", "routes"]

admin.site.index_template = "console/start.html"
admin.site.index_title = "Today"
