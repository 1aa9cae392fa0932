from django.apps import AppConfig


class GatewayConfig(AppConfig):
    name = "smsgateway"

    def ready(self) -> None:
        from smsgateway import checks  # noqa: F401  # registers the system checks
