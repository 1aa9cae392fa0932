"""The API: port 8080."""

from django.conf import settings
from django.urls import include, path

from smsgateway.http.openapi.views import openapi_json, page, redoc
from smsgateway.urls.health import urlpatterns as health

handler404 = "smsgateway.http.problems.not_found"
handler500 = "smsgateway.http.problems.server_error"

urlpatterns = [
    path("v1/openapi.json", openapi_json, name="openapi"),
    path("docs", page, name="docs"),
    path("docs/redoc.js", redoc, name="docs-redoc"),
    path("v1/", include("apps.customers.urls")),
    path("v1/", include("apps.sms.urls")),
    path("v1/", include("apps.balance.urls")),
    *health,
]
if settings.SERVES_ADMIN:
    from smsgateway.urls.admin import admin_urlpatterns

    urlpatterns += admin_urlpatterns
