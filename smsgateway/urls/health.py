"""Probes and metrics of every HTTP service, for load balancers and Prometheus."""

from django.urls import path
from django_prometheus.exports import ExportToDjangoView

from smsgateway.http.health import healthz, readyz

urlpatterns = [
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("metrics", ExportToDjangoView, name="metrics"),
]
