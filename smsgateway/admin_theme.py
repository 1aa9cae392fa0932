"""The admin's theme and its menu, for `settings.UNFOLD`. The menu shows the pages that a person's role may open."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy


def _may(*permissions: str) -> Callable[[HttpRequest], bool]:
    def may(request: HttpRequest) -> bool:
        user: Any = request.user
        return bool(user.has_perms(permissions))

    return may


def _item(title: str, icon: str, page: str, *permissions: str) -> dict[str, Any]:
    return {"title": title, "icon": icon, "link": reverse_lazy(page), "permission": _may(*permissions)}


UNFOLD: Final = {
    "SITE_TITLE": "SMS gateway",
    "SITE_HEADER": "SMS gateway",
    "SITE_SYMBOL": "forum",
    "SITE_URL": None,
    "SHOW_VIEW_ON_SITE": False,
    "DASHBOARD_CALLBACK": "apps.console.pages.start.start_context",
    "STYLES": [lambda _request: static("console/console.css")],
    "SCRIPTS": [
        lambda _request: static("console/charts.js"),
        lambda _request: static("console/keyboard.js"),
        lambda _request: static("console/copy.js"),
    ],
    "BORDER_RADIUS": "8px",
    "COLORS": {
        "primary": {
            "50": "oklch(97.0% .014 254.6)",
            "100": "oklch(93.2% .032 255.6)",
            "200": "oklch(88.2% .059 254.1)",
            "300": "oklch(80.9% .105 251.8)",
            "400": "oklch(70.7% .165 254.6)",
            "500": "oklch(62.3% .214 259.8)",
            "600": "oklch(54.6% .245 262.9)",
            "700": "oklch(48.8% .243 264.4)",
            "800": "oklch(42.4% .199 265.6)",
            "900": "oklch(37.9% .146 265.5)",
            "950": "oklch(28.2% .091 267.9)",
        },
    },
    "SIDEBAR": {
        "navigation": [
            {
                "items": [
                    _item("Today", "monitoring", "admin:index"),
                    _item("Customers", "storefront", "admin:customers_customer_changelist", "customers.view_customer"),
                    _item("Messages", "sms", "console:messages", "sms.view_message"),
                    _item("Callbacks", "webhook", "console:callbacks", "sms.view_callback"),
                ],
            },
            {
                "title": "Delivery",
                "separator": True,
                "items": [
                    _item("Operators", "cell_tower", "console:operators", "console.view_gateway"),
                    _item("Routes", "alt_route", "admin:sms_route_changelist", "sms.view_route"),
                    _item("Rates", "sell", "admin:sms_rate_changelist", "sms.view_rate"),
                    _item("Stuck", "hourglass_top", "console:stuck", "console.view_gateway", "sms.view_message"),
                    _item("Dead letters", "unsubscribe", "console:dead-letters", "console.view_deadletter"),
                ],
            },
            {
                "title": "People",
                "separator": True,
                "items": [
                    _item("Audit log", "fact_check", "console:acts", "console.view_act"),
                    _item("Users", "person", "admin:auth_user_changelist", "auth.view_user"),
                    _item("Roles", "group", "admin:auth_group_changelist", "auth.view_group"),
                    _item("Your login", "key", "console:account"),
                ],
            },
        ],
    },
}
