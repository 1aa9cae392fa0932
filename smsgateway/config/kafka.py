"""Kafka: where it is, its topics, and how they are written and read."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import ClassVar, Final

from smsgateway.config.declare import setting

_MOST_OVERFLOW_LANES: Final = 32
LONGEST_VALIDITY: Final = 7 * 86_400
"""The longest `valid_for` of a message, in seconds."""


@dataclasses.dataclass(frozen=True, slots=True)
class Kafka:
    title: ClassVar[str] = "Kafka"
    prefix: ClassVar[str] = "KAFKA_"

    brokers: list[str] = setting("Bootstrap brokers, comma separated.", unit="host:port", pattern=r"[^\s,:]+:\d+")
    topic_accepted: str = setting("Facts of accepted messages, without text.", default="sms.accepted")
    topic_delivery: str = setting(
        "Messages to deliver; NAME.otp and NAME.bulk are the lanes of those priorities.", default="sms.delivery"
    )
    topic_status: str = setting("Status events and refunds.", default="sms.status")
    topic_receipts: str = setting("Receipts that came over SMPP, not yet matched.", default="sms.receipts")
    topic_routes: str = setting("The routing table that workers follow; compacted.", default="sms.routes")
    topic_held: str = setting("Messages that workers did not send: their customer is suspended.", default="sms.held")
    topic_suspended: str = setting(
        "The suspended customers, whose messages workers hold; compacted.", default="sms.suspended"
    )
    topic_dead_letter: str = setting("Events that no process can handle, with the reason.", default="sms.dlq")
    partitions: int = setting(
        "Partitions of a topic that create-kafka-topics makes.", default=12, minimum=1, maximum=10_000
    )
    replication: int = setting("Copies of each partition.", default=1, minimum=1, maximum=10)
    retention_days: int = setting(
        "Kafka keeps an event for so long; longer than any message is valid (SMS_VALIDITY, valid_for) and put off.",
        default=10,
        unit="days",
        minimum=1,
        maximum=366,
    )
    dead_letter_retention_days: int = setting(
        "Kafka keeps a dead letter for so long.", default=60, unit="days", minimum=1, maximum=3660
    )
    dead_letter_limit: int = setting(
        "Settlement and ingest stop reading after more dead letters in a row than this; 0: no limit.",
        default=1000,
        minimum=0,
        maximum=1_000_000,
    )
    overflow_lanes: int = setting(
        "Overflow topics that workers write to: in each partition so many customers may have a backlog without waiting "
        "for each other.",
        default=8,
        minimum=1,
        maximum=_MOST_OVERFLOW_LANES,
    )
    producer_linger: int = setting(
        "Wait for a fuller batch before sending.", default=5, unit="milliseconds", minimum=0, maximum=10_000
    )
    producer_compression: str = setting(
        "Codec of sent batches.", default="lz4", choices=("none", "gzip", "snappy", "lz4", "zstd")
    )
    producer_timeout: int = setting(
        "An event not confirmed by then is an error, and is sent again by its process.",
        default=30_000,
        unit="milliseconds",
        minimum=1000,
        maximum=600_000,
    )
    consumer_group_prefix: str = setting("Groups are named PREFIX.process.", default="smsgateway")
    consumer_session_timeout: int = setting(
        "A consumer silent for so long loses its partitions.",
        default=10_000,
        unit="milliseconds",
        minimum=4000,
        maximum=600_000,
    )
    security_protocol: str = setting(
        "How brokers are spoken to.",
        default="PLAINTEXT",
        choices=("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"),
    )
    sasl_mechanism: str = setting(
        "With SASL.", default="SCRAM-SHA-512", choices=("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
    )
    sasl_username: str = setting("With SASL.", default="")
    sasl_password: str = setting("With SASL.", default="")
    ssl_ca_file: str = setting("CA certificates (PEM file); empty takes the system's.", default="")

    @property
    def retry_topics(self) -> tuple[tuple[float, str], ...]:
        """The topics of messages that were put off, each with the longest delay in seconds it is for, in order."""
        return (
            (15.0, f"{self.topic_delivery}.retry.short"),
            (120.0, f"{self.topic_delivery}.retry.medium"),
            (float("inf"), f"{self.topic_delivery}.retry.long"),
        )

    @property
    def overflow_topics(self) -> tuple[str, ...]:
        """The overflow lanes: where messages wait that their customer's queue has no room for."""
        return self._overflow_topics[: self.overflow_lanes]

    @property
    def retired_overflow_topics(self) -> tuple[str, ...]:
        """Overflow lanes beyond the setting: written to while it was higher; what lies there is still to be read."""
        return self._overflow_topics[self.overflow_lanes :]

    @property
    def _overflow_topics(self) -> tuple[str, ...]:
        first = f"{self.topic_delivery}.overflow"
        return (first, *(f"{first}.{number}" for number in range(2, _MOST_OVERFLOW_LANES + 1)))

    @property
    def delivery_topics(self) -> tuple[str, ...]:
        """Every topic that delivery workers need: the normal lane first."""
        first = self.delivery_lanes["normal"]
        others = [topic for topic in self.delivery_lanes.values() if topic != first]
        return (first, *others, *(topic for _, topic in self.retry_topics), *self.overflow_topics)

    @property
    def settled_topics(self) -> tuple[str, ...]:
        """Every topic that settlement reads."""
        return (self.topic_status, self.topic_receipts, self.topic_held)

    @property
    def read_delivery_topics(self) -> tuple[str, ...]:
        """Every topic that delivery workers read if it exists: the retired overflow lanes too."""
        return (*self.delivery_topics, *self.retired_overflow_topics)

    @property
    def delivery_lanes(self) -> dict[str, str]:
        """The delivery topic of each priority, the most urgent first."""
        return {
            "otp": f"{self.topic_delivery}.otp",
            "normal": self.topic_delivery,
            "bulk": f"{self.topic_delivery}.bulk",
        }


def complaints(kafka: Kafka, *, validity: int, retry_cap: float) -> Iterator[str]:
    """What is wrong with how long topics keep events. `validity` and `retry_cap` in seconds.

    A message waits on Kafka until it is read, at the longest until it has expired: only then it is refunded. A day more
    lets the workers stand still for that long.
    """
    needed = (max(validity, LONGEST_VALIDITY) + retry_cap) / 86_400 + 1
    if kafka.retention_days < needed:
        yield (
            f"KAFKA_RETENTION_DAYS is {kafka.retention_days}, less than the {needed:.1f} days that a message may wait "
            "(SMS_VALIDITY, or 7 days of valid_for; WORKER_RETRY_CAP; a day more)."
        )
    if kafka.dead_letter_retention_days < kafka.retention_days:
        yield (
            f"KAFKA_DEAD_LETTER_RETENTION_DAYS is {kafka.dead_letter_retention_days}, less than KAFKA_RETENTION_DAYS "
            f"({kafka.retention_days})."
        )
