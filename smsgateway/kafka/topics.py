"""The gateway's topics: their partitions, and how long Kafka keeps their events.

By default a broker keeps events for seven days: it would delete a waiting message that is valid for longer. Therefore
each topic sets its own retention, and processes check it at their start.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import structlog
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # exported all the same
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
)

from smsgateway.config.kafka import Kafka
from smsgateway.kafka import client as kafka

log = structlog.get_logger(__name__)

_SECONDS: Final = 10.0
_DAY: Final = 86_400_000
_POLICY: Final = "cleanup.policy"
_RETENTION: Final = "retention.ms"
_BYTES: Final = "retention.bytes"


class Topic(NamedTuple):
    """A topic that processes need. `days`: its retention; 0 for a compacted topic, which keeps the newest event per
    key."""

    name: str
    partitions: int
    days: int

    @property
    def settings(self) -> dict[str, str]:
        """What the topic is created with."""
        if not self.days:
            return {_POLICY: "compact"}
        return {_POLICY: "delete", _RETENTION: str(self.days * _DAY), _BYTES: "-1"}


class Lack(NamedTuple):
    """A topic setting that keeps too little: its value, and the value it needs."""

    topic: str
    setting: str
    has: str
    needs: str

    def __str__(self) -> str:
        if self.setting == _RETENTION:
            return f"retention is {int(self.has) / _DAY:g} days, less than {int(self.needs) / _DAY:g}"
        return f"{self.setting} is {self.has}, not {self.needs}"


def topics_of(config: Kafka) -> list[Topic]:
    """Every topic that the gateway needs."""
    kept = [
        config.topic_accepted,
        *config.delivery_topics,
        config.topic_status,
        config.topic_receipts,
        config.topic_held,
    ]
    return [
        *(Topic(name, config.partitions, config.retention_days) for name in kept),
        Topic(config.topic_money, config.partitions, config.money_retention_days),
        Topic(config.topic_routes, 1, 0),
        Topic(config.topic_suspended, 1, 0),
        Topic(config.topic_dead_letter, config.partitions, config.dead_letter_retention_days),
    ]


def admin(config: Kafka) -> AdminClient:
    """A client that creates and changes topics."""
    return AdminClient(kafka.client_options(config) | {"log_level": 0})


def has_controller(client: AdminClient) -> bool:
    """True if topics can be created and described. Not on the embedded broker: there they appear on first use.

    Raises KafkaException.
    """
    cluster = client.list_topics(timeout=_SECONDS)
    return cluster.controller_id in cluster.brokers


def create(client: AdminClient, topics: Iterable[Topic], *, replication: int) -> None:
    """Create these topics, unless they exist. Raises KafkaException."""
    new = [NewTopic(topic.name, topic.partitions, replication, config=topic.settings) for topic in topics]
    for created in client.create_topics(new, operation_timeout=_SECONDS).values() if new else ():
        try:
            created.result(_SECONDS)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise


def widen(client: AdminClient, topic: str, partitions: int) -> None:
    """Increase a topic to this many partitions. Raises KafkaException."""
    client.create_partitions([NewPartitions(topic, partitions)], operation_timeout=_SECONDS)[topic].result(_SECONDS)


def lacks(client: AdminClient, topics: Iterable[Topic]) -> list[Lack]:
    """The settings of existing topics that keep less than they should. More is no fault. Raises KafkaException."""
    wanted = {topic.name: topic for topic in topics}
    known = client.list_topics(timeout=_SECONDS).topics
    resources = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in wanted if name in known]
    if not resources:
        return []
    asked = client.describe_configs(resources, request_timeout=_SECONDS)
    found: list[Lack] = []
    for resource, answer in asked.items():
        entries = answer.result(_SECONDS)
        found += _lacks(wanted[resource.name], {name: entry.value for name, entry in entries.items()})
    return sorted(found)


def _lacks(topic: Topic, has: Mapping[str, str]) -> list[Lack]:
    policies = {part.strip() for part in has.get(_POLICY, "delete").split(",")}
    if not topic.days:
        return [] if policies == {"compact"} else [Lack(topic.name, _POLICY, has.get(_POLICY, ""), "compact")]
    found = []
    needs = topic.settings
    if "compact" in policies:  # it would keep one event per customer
        found.append(Lack(topic.name, _POLICY, has[_POLICY], needs[_POLICY]))
    if 0 <= int(has.get(_RETENTION, "-1")) < int(needs[_RETENTION]):
        found.append(Lack(topic.name, _RETENTION, has[_RETENTION], needs[_RETENTION]))
    if int(has.get(_BYTES, "-1")) >= 0:
        found.append(Lack(topic.name, _BYTES, has[_BYTES], needs[_BYTES]))
    return found


def supply(client: AdminClient, found: Iterable[Lack]) -> None:
    """Change these settings to what the topics need. Raises KafkaException."""
    by_topic: dict[str, list[ConfigEntry]] = {}
    for lack in found:
        entry = ConfigEntry(lack.setting, lack.needs, incremental_operation=AlterConfigOpType.SET)
        by_topic.setdefault(lack.topic, []).append(entry)
    resources = [
        ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=entries)
        for topic, entries in by_topic.items()
    ]
    for changed in client.incremental_alter_configs(resources).values() if resources else ():
        changed.result(_SECONDS)


def warn(config: Kafka) -> None:
    """Log a warning for each missing topic, and each that keeps too little. Never raises; may wait seconds for
    Kafka."""
    wanted = topics_of(config)
    try:
        client = admin(config)
        if not has_controller(client):
            return
        known = client.list_topics(timeout=_SECONDS).topics
        found = lacks(client, wanted)
    except KafkaException as error:
        log.info("topics_not_checked", error=error.args[0].str())
        return
    for topic in wanted:
        if topic.name not in known:
            log.warning("topic_missing", topic=topic.name, hint="manage.py create_kafka_topics")
    for lack in found:
        log.warning("topic_keeps_too_little", topic=lack.topic, reason=str(lack), hint="manage.py create_kafka_topics")


def warn_in_background(config: Kafka) -> None:
    """Check the topics without delaying the start of a process."""
    threading.Thread(target=warn, args=[config], name="topics", daemon=True).start()
