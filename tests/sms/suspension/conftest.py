"""A customer that can be suspended, and a relay whose records are kept."""

from __future__ import annotations

from uuid import UUID

import pytest
from confluent_kafka import Producer
from django.conf import settings

from apps.sms.models import OutboxEntry
from apps.sms.outbox import relay
from apps.sms.suspension.held_relay import HeldRelay
from smsgateway.kafka import client as kafka
from tests.support.customers import MakeCustomer


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[kafka.Record]:
    """What the relay publishes, in order."""
    found: list[kafka.Record] = []
    monkeypatch.setattr(kafka, "publish_and_wait", lambda _producer, records: found.extend(records))
    return found


@pytest.fixture
def customer_id(make_customer: MakeCustomer) -> UUID:
    OutboxEntry.objects.all().delete()
    return make_customer(balance=10_000)


@pytest.fixture
def held(db: None) -> HeldRelay:
    return HeldRelay(Producer({}), config=settings.CONFIG, shard=relay.WHOLE)
