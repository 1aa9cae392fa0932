"""The API as a process of its own, for foreign clients."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from apps.devservices.gateway import Gateway
from smsgateway import ids


class Served(NamedTuple):
    """A running API, and a customer of it with its API key."""

    gateway: Gateway
    environ: dict[str, str]
    customer_id: UUID
    key: str

    @property
    def url(self) -> str:
        return self.gateway.api_url

    def environment(self, url: str) -> dict[str, str]:
        """What docs/howto/generate-a-client.md asks for."""
        return {"SMS_URL": url, "SMS_KEY": self.key, "SMS_CUSTOMER": ids.to_text(self.customer_id)}
