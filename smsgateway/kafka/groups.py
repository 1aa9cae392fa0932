"""The consumer groups, and the topics that each of them reads."""

from __future__ import annotations

from smsgateway.config.kafka import Kafka


def topics_by_process(config: Kafka) -> dict[str, tuple[str, ...]]:
    """The topics that each consuming process reads, in the group PREFIX.process. Some may not exist."""
    return {
        "deliver": config.read_delivery_topics,
        "settle": config.settled_topics,
        "ingest": (config.topic_accepted, config.topic_status),
    }


def group_id(config: Kafka, process: str) -> str:
    """The name of a process's consumer group."""
    return f"{config.consumer_group_prefix}.{process}"
