"""The commands that the demo, `make up` and the benchmark build on."""

from __future__ import annotations

import dataclasses
import io
import json
import uuid
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from apps.balance.models import Account, LedgerEntry
from apps.balance.selectors import accounts_off
from apps.devservices.processes import ServiceError
from apps.sms.accept.requests import MAX_VALIDITY
from apps.sms.management.commands import create_kafka_topics
from scripts.up import PORTS, ports_of
from smsgateway import ids
from smsgateway.kafka import topics


def run(command: str, *arguments: str) -> str:
    out = io.StringIO()
    call_command(command, *arguments, stdout=out)
    return out.getvalue()


@pytest.mark.django_db
def test_seeded_customers_have_their_pace_their_balance_and_a_ledger_that_agrees() -> None:
    created = json.loads(run("seed", "bank:60:1000", "shop:5:70"))
    accounts = {name: Account.objects.get(customer_id=ids.from_text(created[name])) for name in ("bank", "shop")}
    assert {name: account.balance for name, account in accounts.items()} == {"bank": 1000, "shop": 70}
    assert accounts["shop"].customer.segments_per_second == 5
    assert LedgerEntry.objects.count() == 2
    assert not accounts_off()


@pytest.mark.django_db
@pytest.mark.parametrize(
    "wanted", ["bank", "bank:60", "bank:fast:10", ":60:10", "bank:60:-1", "bank:0:10", "bank:60:0"]
)
def test_a_wrong_customer_is_refused_in_one_line(wanted: str) -> None:
    with pytest.raises(CommandError) as caught:
        run("seed", wanted)
    assert "\n" not in str(caught.value)


_TOPICS = ("accepted", "delivery", "status", "receipts", "routes", "held", "suspended", "money", "dead_letter")


def test_topics_are_created_once(settings: Any) -> None:
    prefix = uuid.uuid4().hex[:8]
    names = {f"topic_{kind}": f"{prefix}.{kind}" for kind in _TOPICS}
    settings.CONFIG = dataclasses.replace(settings.CONFIG, kafka=dataclasses.replace(settings.CONFIG.kafka, **names))
    first, second = run("create_kafka_topics"), run("create_kafka_topics")
    lanes = set(settings.CONFIG.kafka.delivery_topics)
    assert {line.split()[0] for line in first.splitlines()} == lanes | set(names.values())
    assert first.count("created") == 14 + settings.CONFIG.kafka.overflow_lanes
    assert second.count("was there") == 14 + settings.CONFIG.kafka.overflow_lanes


def test_every_topic_says_how_long_it_keeps_its_events(settings: Any) -> None:
    config = settings.CONFIG.kafka
    wanted = {topic.name: topic for topic in topics.topics_of(config)}
    for table in (config.topic_routes, config.topic_suspended):
        assert (wanted[table].partitions, wanted[table].settings) == (1, {"cleanup.policy": "compact"})
    for name, topic in wanted.items():
        if topic.days:
            assert topic.partitions == config.partitions
            assert topic.settings["cleanup.policy"] == "delete"
            # Longer than any message may wait there unread, with its tries.
            kept = int(topic.settings["retention.ms"]) / 1000
            assert kept > max(settings.CONFIG.sms.validity, MAX_VALIDITY) + settings.CONFIG.worker.retry_cap
            longer = int(wanted[config.topic_dead_letter].settings["retention.ms"]) / 1000
            assert name in (config.topic_dead_letter, config.topic_money) or longer > kept


def test_topics_without_kafka_end_in_one_line(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(create_kafka_topics, "_SECONDS", 0.5)
    kafka = dataclasses.replace(settings.CONFIG.kafka, brokers=["127.0.0.1:9"])
    settings.CONFIG = dataclasses.replace(settings.CONFIG, kafka=kafka)
    with pytest.raises(CommandError, match=r"^Kafka at 127\.0\.0\.1:9: [^\n]+KAFKA_BROKERS\.$"):
        run("create_kafka_topics")


@pytest.mark.parametrize(
    "wrong", ["", "9080", "9080,9081", "9080,9080,9081", "9080,9081,x", "9080,9081,70000", "1,2,3,x"]
)
def test_other_ports_of_make_up_must_be_three(wrong: str) -> None:
    assert ports_of("9080, 9081,9090") == (9080, 9081, 9090)
    assert len(ports_of(PORTS)) == 3
    with pytest.raises(ServiceError, match="UP_PORTS"):
        ports_of(wrong)
