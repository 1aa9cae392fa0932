"""The settings of Kafka: brokers, topics, producers, consumers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import ClassVar, Final

from smsgateway.config.operator_checks import check_file
from smsgateway.config.setting_field import setting

_MOST_OVERFLOW_LANES: Final = 32
LONGEST_VALIDITY: Final = 7 * 86_400
"""The longest `valid_for` of a message, in seconds."""


@dataclasses.dataclass(frozen=True, slots=True)
class Kafka:
    title: ClassVar[str] = "Kafka"
    prefix: ClassVar[str] = "KAFKA_"

    brokers: list[str] = setting("Bootstrap brokers, comma separated.", unit="host:port", pattern=r"[^\s,:]+:\d+")
    topic_accepted: str = setting(
        "Topic of accepted messages, for statistics; without their texts.", default="sms.accepted"
    )
    topic_delivery: str = setting(
        "Topic of messages to deliver; priorities otp and bulk use NAME.otp and NAME.bulk.", default="sms.delivery"
    )
    topic_status: str = setting("Topic of status events and refunds.", default="sms.status")
    topic_receipts: str = setting("Topic of receipts over SMPP that are not matched yet.", default="sms.receipts")
    topic_routes: str = setting("Compacted topic of the routing table that workers use.", default="sms.routes")
    topic_held: str = setting("Topic of messages held because their customer is suspended.", default="sms.held")
    topic_suspended: str = setting(
        "Compacted topic of the suspended customers, whose messages workers hold.", default="sms.suspended"
    )
    topic_money: str = setting(
        "Topic of top-ups, adjustments and new accounts, from which manage.py recover rebuilds balances.",
        default="sms.money",
    )
    topic_dead_letter: str = setting(
        "Topic of events that no process can handle, each with the reason.", default="sms.dlq"
    )
    partitions: int = setting(
        "Partitions of each topic that manage.py create_kafka_topics creates.", default=12, minimum=1, maximum=10_000
    )
    replication: int = setting("Copies of each partition.", default=1, minimum=1, maximum=10)
    retention_days: int = setting(
        "How long Kafka keeps an event; at least a day longer than a message can wait (SMS_VALIDITY or 7 days of "
        "valid_for, and WORKER_RETRY_CAP).",
        default=10,
        unit="days",
        minimum=1,
        maximum=366,
    )
    money_retention_days: int = setting(
        "How long Kafka keeps an event of money; longer than the oldest backup that you would restore.",
        default=60,
        unit="days",
        minimum=1,
        maximum=3660,
    )
    dead_letter_retention_days: int = setting(
        "How long Kafka keeps a dead letter.", default=60, unit="days", minimum=1, maximum=3660
    )
    dead_letter_limit: int = setting(
        "Settlement and ingest stop reading after more dead letters in a row than this; 0: no limit.",
        default=1000,
        minimum=0,
        maximum=1_000_000,
    )
    overflow_lanes: int = setting(
        "Overflow topics that workers write to. In each partition this many customers can have a backlog without "
        "waiting for each other.",
        default=8,
        minimum=1,
        maximum=_MOST_OVERFLOW_LANES,
    )
    producer_linger: int = setting(
        "How long a producer waits for a batch to fill before it sends.",
        default=5,
        unit="milliseconds",
        minimum=0,
        maximum=10_000,
    )
    producer_compression: str = setting(
        "Compression of sent batches.", default="lz4", choices=("none", "gzip", "snappy", "lz4", "zstd")
    )
    producer_timeout: int = setting(
        "An event that Kafka has not confirmed in this time is an error; its process sends it again.",
        default=30_000,
        unit="milliseconds",
        minimum=1000,
        maximum=600_000,
    )
    lost_offsets: str = setting(
        "What delivery workers do with messages in partitions whose committed offsets are lost: check reads from the "
        "status topic what was submitted already, and stops if that is too long; stop always stops, with one line; "
        "resend submits everything on the topic again.",
        default="check",
        choices=("check", "stop", "resend"),
    )
    consumer_group_prefix: str = setting(
        "Prefix of consumer groups, which are named PREFIX.PROCESS.", default="smsgateway"
    )
    consumer_session_timeout: int = setting(
        "A consumer that sends no heartbeat for this long loses its partitions.",
        default=10_000,
        unit="milliseconds",
        minimum=4000,
        maximum=600_000,
    )
    security_protocol: str = setting(
        "Protocol of connections to the brokers.",
        default="PLAINTEXT",
        choices=("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"),
    )
    sasl_mechanism: str = setting(
        "SASL mechanism.", default="SCRAM-SHA-512", choices=("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
    )
    sasl_username: str = setting("User name with SASL.", default="")
    sasl_password: str = setting("Password with SASL.", default="", secret=1)
    ssl_ca_file: str = setting("CA certificates (PEM file); empty uses the system's.", default="", valid=check_file)
    ssl_certificate_file: str = setting(
        "Certificate that a process shows to the brokers (PEM file); empty: none.", default="", valid=check_file
    )
    ssl_key_file: str = setting("Private key of KAFKA_SSL_CERTIFICATE_FILE (PEM file).", default="", valid=check_file)
    ssl_key_password: str = setting("Password of the private key; empty: it has none.", default="", secret=1)

    @property
    def retry_topics(self) -> tuple[tuple[float, str], ...]:
        """The topics of messages that wait for a retry, shortest delays first: `(longest delay in seconds, topic)`."""
        return (
            (15.0, f"{self.topic_delivery}.retry.short"),
            (120.0, f"{self.topic_delivery}.retry.medium"),
            (float("inf"), f"{self.topic_delivery}.retry.long"),
        )

    @property
    def overflow_topics(self) -> tuple[str, ...]:
        """The overflow lanes, where messages wait while their customer's queue is full."""
        return self._overflow_topics[: self.overflow_lanes]

    @property
    def retired_overflow_topics(self) -> tuple[str, ...]:
        """Lanes beyond KAFKA_OVERFLOW_LANES. They hold unread messages if the setting was higher before."""
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
        """Every topic that delivery workers read if it exists, including the retired overflow lanes."""
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
    """Yield a sentence for each retention that is too short. `validity` and `retry_cap` in seconds.

    An unsent message must stay on Kafka until it has expired, because the refund follows only then. The extra day
    allows for workers that stand still.
    """
    needed = (max(validity, LONGEST_VALIDITY) + retry_cap) / 86_400 + 1
    if kafka.retention_days < needed:
        yield (
            f"KAFKA_RETENTION_DAYS is {kafka.retention_days}, less than the {needed:.1f} days that a message may wait "
            "(SMS_VALIDITY or 7 days of valid_for, WORKER_RETRY_CAP, and one more day)."
        )
    if kafka.dead_letter_retention_days < kafka.retention_days:
        yield (
            f"KAFKA_DEAD_LETTER_RETENTION_DAYS is {kafka.dead_letter_retention_days}, less than KAFKA_RETENTION_DAYS "
            f"({kafka.retention_days})."
        )
