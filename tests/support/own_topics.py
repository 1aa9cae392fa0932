"""Settings whose topics and consumer groups are those of one test."""

from __future__ import annotations

import dataclasses

from django.conf import settings

from smsgateway import ids
from smsgateway.config import Config
from smsgateway.config.kafka import Kafka


def own_topics() -> Config:
    """The settings, with topics and groups that nobody else uses."""
    suffix = ids.to_text(ids.new_id())
    names = [field.name for field in dataclasses.fields(Kafka) if field.name.startswith("topic_")]
    topics = {name: f"{name.removeprefix('topic_')}-{suffix}" for name in names}
    own = dataclasses.replace(settings.CONFIG.kafka, consumer_group_prefix=suffix, **topics)  # type: ignore[arg-type]
    return dataclasses.replace(settings.CONFIG, kafka=own)
