"""`manage.py dlq`: dead letters are listed with their reason, and replayed once their cause is fixed."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from apps.sms import events
from apps.sms.recovery import dead_letters
from smsgateway.kafka import client as kafka
from tests.support.delivery import RunningWorker, ScriptedOperator, config_of_its_own, produce, requested, wait_until


def dlq(*arguments: str) -> str:
    out = StringIO()
    call_command("dlq", *arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def topics(settings: Any) -> Any:
    settings.CONFIG = config_of_its_own()
    return settings.CONFIG


def bury(config: Any, count: int = 1) -> None:
    """Let a worker meet events that it cannot read."""
    before = len(dead_letters.letters_list(config.kafka))
    produce(config, [(1, b"no JSON %d" % number) for number in range(count)])
    with RunningWorker(config, ScriptedOperator()):
        wait_until(lambda: len(dead_letters.letters_list(config.kafka)) == before + count)


def test_letters_are_listed_with_reason_and_source_and_shown_whole(topics: Any) -> None:
    assert dlq("list") == ""
    bury(topics, 2)
    lines = dlq("list").splitlines()
    assert len(lines) == 2
    place = lines[0].split()[0]
    assert f"{topics.kafka.topic_delivery} 1:0" in lines[0]
    assert "unreadable" in lines[0]
    assert dlq("list", "--reason", "no such reason") == ""
    shown = dlq("show", place)
    assert "source_offset: 0" in shown
    assert shown.rstrip().endswith("no JSON 0")


def test_a_replayed_letter_is_delivered_where_it_came_from_and_marked(topics: Any) -> None:
    message = requested()
    producer = kafka.producer(topics.kafka, client_id="test")
    headers: dead_letters.Headers = [
        ("reason", b"unreadable: an older version"),
        ("source_topic", topics.kafka.topic_delivery.encode()),
        ("source_partition", b"0"),
        ("source_offset", b"7"),
        ("request_id", b"req-9"),
    ]
    letter = kafka.Record(topics.kafka.topic_dead_letter, b"CUSTOMER", events.encode(message), headers)
    kafka.publish_and_wait(producer, [letter])
    assert dlq("replay", "--all", "--reason", "older version") == "1 replayed.\n"
    operator = ScriptedOperator()
    with RunningWorker(topics, operator):
        wait_until(lambda: operator.accepted[message.message_id] == 1)
    assert dlq("list") == ""
    assert dlq("list", "--replayed").rstrip().endswith("replayed")
    assert dlq("replay", "--all") == "0 replayed.\n"


def test_what_cannot_be_replayed_says_so_and_replays_nothing(topics: Any) -> None:
    producer = kafka.producer(topics.kafka, client_id="test")
    orphan = kafka.Record(topics.kafka.topic_dead_letter, b"k", b"", [("reason", b"outbox row without its message")])
    kafka.publish_and_wait(producer, [orphan])
    with pytest.raises(CommandError, match="does not name the topic"):
        dlq("replay", "--all")
    with pytest.raises(CommandError, match=r"no dead letter 9:9"):
        dlq("show", "9:9")
    with pytest.raises(CommandError, match="or say --all"):
        dlq("replay")


def test_kafka_away_is_one_line(topics: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import dataclasses

    monkeypatch.setattr(dead_letters, "_SECONDS", 0.5)
    away = dataclasses.replace(topics.kafka, brokers=["127.0.0.1:9"])
    settings.CONFIG = dataclasses.replace(topics, kafka=away)
    with pytest.raises(CommandError, match=r"^Kafka at 127\.0\.0\.1:9: [^\n]+KAFKA_BROKERS\.$"):
        dlq("list")


class Altered:
    """A consumer whose partitions end where the test says, or that brings nothing."""

    def __init__(self, consumer: Any, *, end: int = 0, is_silent: bool = False) -> None:
        self._consumer, self._end, self._is_silent = consumer, end, is_silent

    def __getattr__(self, name: str) -> Any:
        return getattr(self._consumer, name)

    def get_watermark_offsets(self, *arguments: Any, **options: Any) -> tuple[int, int]:
        low, high = self._consumer.get_watermark_offsets(*arguments, **options)
        return low, high + self._end if high > low else high

    def consume(self, *arguments: Any) -> Any:
        return [] if self._is_silent else self._consumer.consume(*arguments)


@pytest.fixture
def altered(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    make = kafka.consumer

    def altered(**how: Any) -> None:
        monkeypatch.setattr(kafka, "consumer", lambda *a, **o: Altered(make(*a, **o), **how))

    return altered


@pytest.mark.timeout(60)  # it never ends otherwise
def test_an_end_without_an_event_ends_the_list_too(topics: Any, altered: Callable[..., None]) -> None:
    """As a transaction's marker is one, and what retention has deleted since the end was asked for."""
    bury(topics, 2)
    altered(end=3)
    assert len(dlq("list").splitlines()) == 2


def test_what_comes_while_the_list_is_read_is_left_for_the_next_time(topics: Any, altered: Callable[..., None]) -> None:
    bury(topics, 3)
    altered(end=-1)  # as if the last letter had come after the end was asked for
    (partition,) = {line.split(":")[0] for line in dlq("list").splitlines()}
    assert [line.split()[0] for line in dlq("list").splitlines()] == [f"{partition}:0", f"{partition}:1"]


@pytest.mark.timeout(60)
def test_kafka_that_falls_silent_meanwhile_is_one_line(
    topics: Any, altered: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    bury(topics)
    monkeypatch.setattr(dead_letters, "_SECONDS", 1.0)
    altered(is_silent=True)
    with pytest.raises(CommandError, match=r"^Kafka at .*KAFKA_BROKERS"):
        dlq("list")


def test_a_letter_that_comes_back_is_not_replayed_by_all_again(topics: Any) -> None:
    bury(topics)
    assert dlq("replay", "--all") == "1 replayed.\n"
    with RunningWorker(topics, ScriptedOperator()):
        wait_until(lambda: "came back" in dlq("list"))
    assert (
        dlq("replay", "--all")
        == "1 came back from an earlier replay: skipped; --again replays them too.\n0 replayed.\n"
    )
    assert dlq("replay", "--all", "--again") == "1 replayed.\n"
    with RunningWorker(topics, ScriptedOperator()):
        wait_until(lambda: "came back" in dlq("list"))
    [place] = [line.split()[0] for line in dlq("list").splitlines()]
    assert dlq("show", place).count("replayed_from") == 1
