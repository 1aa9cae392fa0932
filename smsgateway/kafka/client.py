"""Kafka clients: the settings of producers and consumers, and publishing that waits for confirmation."""

from __future__ import annotations

import functools
import typing
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from smsgateway.config.kafka import Kafka
from smsgateway.kafka import groups

log = structlog.get_logger(__name__)


Callback = typing.TypeVar("Callback", bound=Callable[..., None])

# A topic and the number of one of its partitions.
Partition = tuple[str, int]


class KafkaUnavailable(Exception):
    """Kafka did not accept an event"""


class RebalanceFailed(Exception):
    """Kafka did not answer during a rebalance"""


def rebalance_callback(callback: Callback) -> Callback:
    """Make a rebalance callback raise RebalanceFailed where it would raise KafkaException.

    confluent-kafka loses a KafkaException that its own calls raise within a callback: the thread that consumes ends
    without a result, and the process waits for it forever.
    """

    @functools.wraps(callback)
    def wrapper(*arguments: Any) -> None:
        try:
            callback(*arguments)
        except KafkaException as error:
            raise RebalanceFailed(str(error)) from None

    return typing.cast(Callback, wrapper)


class Record(NamedTuple):
    """One event to publish."""

    topic: str
    key: bytes
    value: bytes
    headers: list[tuple[str, str | bytes | None]]
    partition: int = -1  # -1: chosen by the key


def _report(error: KafkaError) -> None:
    if error.code() == KafkaError._SSL:
        log.error("kafka_tls_failed", error=error.str(), hint="Check KAFKA_SSL_CA_FILE and the brokers' certificates.")
    elif error.code() == KafkaError._AUTHENTICATION:
        log.error("kafka_login_failed", error=error.str(), hint="Check KAFKA_SASL_… and KAFKA_SECURITY_PROTOCOL.")
    elif error.code() == KafkaError._ALL_BROKERS_DOWN:
        log.error("kafka_away", error=error.str(), hint="Start it, or set KAFKA_BROKERS to where it is.")


def client_options(config: Kafka) -> dict[str, Any]:
    """What producers and consumers share: brokers and security."""
    options: dict[str, Any] = {
        "bootstrap.servers": ",".join(config.brokers),
        "security.protocol": config.security_protocol,
        # Hides librdkafka's lines about connections. Errors reach us through callbacks and results.
        "log_level": 3,
        "error_cb": _report,
    }
    if config.security_protocol.startswith("SASL"):
        options |= {
            "sasl.mechanism": config.sasl_mechanism,
            "sasl.username": config.sasl_username,
            "sasl.password": config.sasl_password,
        }
    files = {
        "ssl.ca.location": config.ssl_ca_file,
        "ssl.certificate.location": config.ssl_certificate_file,
        "ssl.key.location": config.ssl_key_file,
        "ssl.key.password": config.ssl_key_password,
    }
    return options | {name: value for name, value in files.items() if value}


def producer(config: Kafka, *, client_id: str) -> Producer:
    """An idempotent producer: confirmed by all in-sync replicas, in order, never twice by its own retries."""
    return Producer(
        client_options(config)
        | {
            "client.id": client_id,
            "enable.idempotence": True,
            "linger.ms": config.producer_linger,
            "compression.type": config.producer_compression,
            "message.timeout.ms": config.producer_timeout,
            "queue.buffering.max.messages": 200_000,
        }
    )


def consumer(config: Kafka, *, process: str, **options: Any) -> Consumer:
    """A consumer in the group PREFIX.`process` that starts at the oldest event and commits only when asked to."""
    return Consumer(
        client_options(config)
        | {
            "client.id": f"smsgateway-{process}",
            "group.id": groups.group_id(config, process),
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "session.timeout.ms": config.consumer_session_timeout,
            "heartbeat.interval.ms": max(config.consumer_session_timeout // 10, 100),
            "partition.assignment.strategy": "cooperative-sticky",
            "topic.metadata.refresh.interval.ms": 5000,
            "allow.auto.create.topics": True,
            "fetch.wait.max.ms": 100,
        }
        | options
    )


def publish_and_wait(
    client: Producer, records: Iterable[Record], *, positions: dict[Partition, int] | None = None
) -> None:
    """Publish all records and return when Kafka has confirmed each. `positions` gets the offset after each record.

    Raises KafkaUnavailable if one is not confirmed in time; others may have been written then, so the caller must be
    ready to publish all of them again.
    """
    failures: list[KafkaError] = []
    outstanding = 0

    def report(error: KafkaError | None, message: Message) -> None:
        nonlocal outstanding
        outstanding -= 1
        if error is not None:
            failures.append(error)
        elif positions is not None:
            place = (str(message.topic()), partition_of(message))
            positions[place] = max(positions.get(place, 0), offset_of(message) + 1)

    try:
        for record in records:
            while True:
                try:
                    client.produce(
                        record.topic, record.value, record.key, record.partition, report, headers=record.headers
                    )
                except BufferError:
                    client.poll(0.1)
                else:
                    outstanding += 1
                    break
        while outstanding:
            client.poll(0.1)
    except KafkaException as error:
        raise KafkaUnavailable(str(error)) from error
    if failures:
        raise KafkaUnavailable(failures[0].str())


def request_headers(request_id: str) -> list[tuple[str, str | bytes | None]]:
    """The headers that carry a request's id along with its events."""
    return [("request_id", request_id.encode())] if request_id else []


def request_id_of(message: Message) -> str:
    """The id of the request that caused an event; empty if it has none."""
    headers: Any = message.headers() or ()  # declared as more than it is
    for name, value in headers:
        if name == "request_id" and value is not None:
            return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return ""


def partition_of(message: Message) -> int:
    """The partition of a received message."""
    return typing.cast(int, message.partition())


def offset_of(message: Message) -> int:
    """The offset of a received message."""
    return typing.cast(int, message.offset())


def positions_after(messages: Iterable[Message]) -> dict[Partition, int]:
    """The offset after the newest message of each partition."""
    newest: dict[Partition, int] = {}
    for message in messages:
        place = (str(message.topic()), partition_of(message))
        newest[place] = max(newest.get(place, 0), offset_of(message) + 1)
    return newest


def next_offsets(messages: Iterable[Message]) -> list[TopicPartition]:
    """The offset after the newest message of each partition: to be committed when all messages are done."""
    return [TopicPartition(*place, offset) for place, offset in positions_after(messages).items()]


def dead_letter(topic: str, message: Message, reason: str) -> Record:
    """The dead letter for an event that cannot be handled: the same value, with the reason and its place as headers."""
    headers: list[tuple[str, str | bytes | None]] = [
        ("reason", reason.encode()),
        ("source_topic", str(message.topic()).encode()),
        ("source_partition", str(message.partition()).encode()),
        ("source_offset", str(message.offset()).encode()),
        *(message.headers() or []),
    ]
    return Record(topic, message.key() or b"", message.value() or b"", headers)
