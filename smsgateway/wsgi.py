"""WSGI entry of the HTTP services; the setting SERVICE selects one."""

import os

from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "smsgateway.settings")

application = get_wsgi_application()

from smsgateway.http.views import GatewayRequest  # noqa: E402  # once the settings are there

application.request_class = GatewayRequest

# Load the views before gunicorn forks, so that no request waits for it and the processes share the memory.
_ = get_resolver().url_patterns
