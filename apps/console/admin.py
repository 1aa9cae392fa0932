"""Registers the console's lists, forms and start page with the admin site."""

from __future__ import annotations

from django.contrib import admin
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice

from apps.console import logins
from apps.console.pages import customers, rates, routes, users

__all__ = ["customers", "logins", "rates", "routes", "users"]

# Their lists would show secrets. People manage their own second factor, under "Your login".
admin.site.unregister([TOTPDevice, StaticDevice])
admin.site.login_template = "console/login.html"

admin.site.index_template = "console/start.html"
admin.site.index_title = "Today"
