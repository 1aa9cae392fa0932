import os

from django.apps import AppConfig


class GatewayConfig(AppConfig):
    name = "smsgateway"

    def ready(self) -> None:
        from smsgateway import checks  # noqa: F401  # registers the system checks

        # gunicorn sets it, and loads this before it starts its processes.
        if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            from django.conf import settings

            from smsgateway.http.metrics_port import metrics_serve

            metrics_serve(settings.CONFIG)
