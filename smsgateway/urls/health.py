"""Probes of every HTTP service, for load balancers. Its metrics have a port of their own (METRICS_PORT)."""

from django.conf import settings
from django.urls import path
from django_prometheus.exports import ExportToDjangoView

from smsgateway.http.health import healthz, readyz

urlpatterns = [
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
]
if settings.CONFIG.general.environment == "development":
    urlpatterns.append(path("metrics", ExportToDjangoView, name="metrics"))
