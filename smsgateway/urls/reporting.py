"""The reporting API: port 8081."""

from django.urls import include, path

from smsgateway.http.openapi.views import openapi_json, page, redoc
from smsgateway.urls.health import urlpatterns as health

handler404 = "smsgateway.http.problems.not_found"
handler500 = "smsgateway.http.problems.server_error"

urlpatterns = [
    path("v1/openapi.json", openapi_json, name="openapi"),
    path("docs", page, name="docs"),
    path("docs/redoc.js", redoc, name="docs-redoc"),
    path("", include("apps.reporting.urls")),
    *health,
]
