"""Suspends customers, and lets their messages take the way through relay, worker and settlement."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, cast
from uuid import UUID

from confluent_kafka import Message as KafkaMessage
from confluent_kafka import Producer
from django.conf import settings

from apps.customers.models import Customer
from apps.customers.services import customer_status_set
from apps.sms import events
from apps.sms.outbox import relay
from apps.sms.settlement import process as settling
from apps.sms.suspension.held_relay import HeldRelay
from smsgateway import ids
from smsgateway.kafka import client as kafka

Post = Callable[..., Any]
KAFKA = settings.CONFIG.kafka


def suspend(customer_id: UUID) -> None:
    customer_status_set(customer_id=customer_id, status=Customer.Status.SUSPENDED)


def resume(customer_id: UUID) -> None:
    customer_status_set(customer_id=customer_id, status=Customer.Status.ACTIVE)


def send(post: Post, customer_id: UUID, **more: Any) -> str:
    answer = post("/v1/sms/send", {"customer_id": ids.to_text(customer_id), "to": "09121234567", "text": "x", **more})
    assert answer.status_code == 200, answer.content
    return str(answer.json()["id"])


def relay_all(held: HeldRelay | None = None) -> None:
    while relay.relay_round(
        producer=Producer({}), config=settings.CONFIG, waiting=held.customers if held else frozenset()
    ):
        pass


def delivered(published: list[kafka.Record]) -> list[str]:
    """The messages that went to the workers, in order."""
    lanes = KAFKA.delivery_lanes.values()
    return [events.decode_delivery(record.value).message_id for record in published if record.topic in lanes]


def facts(published: list[kafka.Record]) -> list[str]:
    found = [record for record in published if record.topic == KAFKA.topic_accepted]
    return [events.decode_accepted(record.value).message_id for record in found]


class Read(NamedTuple):
    """A `held` event as settlement reads it."""

    event: events.MessageHeld
    request_id: str = "req-1"

    def value(self) -> bytes:
        return events.encode(self.event)

    def headers(self) -> list[tuple[str, bytes]]:
        return [("request_id", self.request_id.encode())]


def settle_held(*made: events.MessageHeld) -> list[str]:
    return [reason for _, reason in settling.write(cast(list[KafkaMessage], [Read(event) for event in made]))]


def held_by_worker(record: kafka.Record, **tries: Any) -> events.MessageHeld:
    """What a worker says of a message that it was given."""
    delivery = events.decode_delivery(record.value)
    return events.MessageHeld(
        message_id=delivery.message_id, customer_id=delivery.customer_id, at=ids.milliseconds(ids.new_id()),
        copy=delivery.copy, **tries,
    )  # fmt: skip
