"""The reporting API: port 8081."""

from django.urls import include, path

from smsgateway.urls.health import urlpatterns as health

handler404 = "smsgateway.problems.not_found"
handler500 = "smsgateway.problems.server_error"

urlpatterns = [path("v1/", include("apps.reporting.urls")), *health]
