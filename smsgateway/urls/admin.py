"""The admin: port 8082. Importing this loads the admin's modules."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from smsgateway.urls.health import urlpatterns as health

admin.autodiscover()

admin_urlpatterns = [
    path("admin", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/console/", include("apps.console.urls")),
    path("admin/", admin.site.urls),
]
urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    *admin_urlpatterns,
    *health,
]
