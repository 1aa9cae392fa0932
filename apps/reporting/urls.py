"""The dashboard, and the reporting API below /v1/."""

from django.urls import include, path

import smsgateway.http.converters  # noqa: F401  # registers <ulid:…>
from apps.reporting.views.dashboard import SessionView, asset, dashboard
from apps.reporting.views.export import ExportView
from apps.reporting.views.statement import StatementView
from apps.reporting.views.stats import DailyStatsView, MinuteStatsView, SummaryView

_V1 = [
    path("stats/minute", MinuteStatsView.as_view(), name="stats-minute"),
    path("stats/daily", DailyStatsView.as_view(), name="stats-daily"),
    path("stats/summary", SummaryView.as_view(), name="stats-summary"),
    path("export", ExportView.as_view(), name="export"),
    path("customers/<ulid:customer_id>/statement", StatementView.as_view(), name="customer-statement"),
]

urlpatterns = [
    path("", dashboard, name="dashboard"),
    path("static/<str:name>", asset, name="dashboard-asset"),
    path("session", SessionView.as_view(), name="session"),
    path("v1/", include(_V1)),
]
