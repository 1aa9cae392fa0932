"""The reporting API, below /v1/."""

from django.urls import path

import smsgateway.http.converters  # noqa: F401  # registers <ulid:…>
from apps.reporting.views.export import ExportView
from apps.reporting.views.statement import StatementView
from apps.reporting.views.stats import DailyStatsView, MinuteStatsView, SummaryView

urlpatterns = [
    path("stats/minute", MinuteStatsView.as_view(), name="stats-minute"),
    path("stats/daily", DailyStatsView.as_view(), name="stats-daily"),
    path("stats/summary", SummaryView.as_view(), name="stats-summary"),
    path("export", ExportView.as_view(), name="export"),
    path("customers/<ulid:customer_id>/statement", StatementView.as_view(), name="customer-statement"),
]
