"""The reporting API, below /v1/."""

from django.urls import path

from apps.reporting.views import DailyStatsView, MinuteStatsView

urlpatterns = [
    path("stats/minute", MinuteStatsView.as_view(), name="stats-minute"),
    path("stats/daily", DailyStatsView.as_view(), name="stats-daily"),
]
