"""A consumer that can use none of its events stops reading, instead of moving a whole topic to the dead letters."""

from __future__ import annotations

import dataclasses

import pytest
from confluent_kafka import Message
from prometheus_client import REGISTRY

from apps.sms.recovery.dead_letters import letters_list
from smsgateway.config import Config
from smsgateway.kafka.dead_letter_limit import DeadLetterLimit, TooManyDeadLetters
from tests.support.consumers import BatchConsumer, Database
from tests.support.delivery import PARTITIONS, config_of_its_own, wait_until

LIMIT = 3 * PARTITIONS


class Picky(Database):
    """Can use no event while `is_picky`. `tries`: how often it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.is_picky = True
        self.tries = 0

    def write(self, messages: list[Message]) -> list[tuple[Message, str]]:
        self.tries += 1
        return [(message, "unusable") for message in messages] if self.is_picky else super().write(messages)


def limited(limit: int) -> Config:
    config = config_of_its_own()
    return dataclasses.replace(config, kafka=dataclasses.replace(config.kafka, dead_letter_limit=limit))


def is_reached() -> bool:
    return REGISTRY.get_sample_value("dead_letter_limit_reached", {"process": "batches"}) == 1


@pytest.mark.breaks("DeadLetterLimitReached")
def test_it_stops_at_the_limit_and_goes_on_once_an_event_is_usable() -> None:
    config, database = limited(LIMIT), Picky()
    with BatchConsumer(config, database) as consumer:
        for _ in range(5):
            consumer.publish(1)
        wait_until(is_reached)
        tries = database.tries
        wait_until(lambda: database.tries >= tries + 2)
        letters = letters_list(config.kafka)
        assert len(letters) <= LIMIT
        assert sum(consumer.lag().values()) == 5 * PARTITIONS - len(letters), "what is no dead letter is not committed"
        database.is_picky = False
        wait_until(lambda: not is_reached())
        wait_until(lambda: sum(consumer.lag().values()) == 0)
    assert len(database.written) + len(letters_list(config.kafka)) == 5 * PARTITIONS


def test_a_usable_event_starts_the_count_again() -> None:
    limit = DeadLetterLimit(process="unit", limit=3)

    def write(*, events: int, unusable: int) -> None:
        limit.check(events=events, unusable=unusable, reason="unusable")
        limit.count(events=events, unusable=unusable)

    write(events=2, unusable=2)
    write(events=0, unusable=0)  # all its partitions went to another consumer
    with pytest.raises(TooManyDeadLetters, match="3 dead letters in a row, the last one for: unusable"):
        write(events=2, unusable=2)
    write(events=9, unusable=8)
    write(events=3, unusable=3)
    with pytest.raises(TooManyDeadLetters):
        write(events=1, unusable=1)


def test_without_a_limit_it_never_stops() -> None:
    config, database = limited(0), Picky()
    with BatchConsumer(config, database) as consumer:
        consumer.publish(5)
        wait_until(lambda: len(letters_list(config.kafka)) == 5 * PARTITIONS)
    assert not is_reached()
