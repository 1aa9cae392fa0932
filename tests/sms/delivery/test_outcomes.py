"""Every message ends in exactly one status event, with any answer of its operator.

One worker delivers all the cases beside each other, once for the module.
"""

from __future__ import annotations

import time
from collections import defaultdict

import pytest
from confluent_kafka import Message

from apps.sms import events
from apps.sms.operators.base import PermanentSubmitError, Throttled, TransientSubmitError
from smsgateway.config import Config
from tests.support.delivery import (
    RunningWorker,
    ScriptedOperator,
    config_of_its_own,
    produce,
    read_all,
    read_statuses,
    read_tries,
    requested,
    wait_until,
)

MAX_RETRIES = 3
UNREADABLE = [b"no JSON", b"", b'{"type":"delivery"}', b"\xff\xfe"]
CASES = {
    "accepted": requested(text="accepted", segments=3, cost=300, request_id="req-1"),
    "refused": requested(text="refused"),
    "late": requested(text="late"),
    "never": requested(text="never"),
    "throttled": requested(text="throttled"),
    "expired": requested(text="expired", expires_at=int(time.time() * 1000) - 1),
    "crash": requested(text="crash"),
    "unknown_operator": requested(text="unknown_operator", operator="nobody"),
}
ABSURD = [
    requested(text="absurd", segments_per_second=0),
    requested(text="absurd", segments_per_second=-5),
    requested(text="absurd", segments_per_second=10**400),
    requested(text="absurd", segments=0),
    requested(text="absurd", segments=10**400),
]
ORDINARY = [requested(customer_id=f"C{number % 7}") for number in range(300)]
THROTTLES = MAX_RETRIES * 3


class Misbehaving(ScriptedOperator):
    """Answers as the message's text names."""

    def __init__(self) -> None:
        super().__init__(self._misbehave)

    async def _misbehave(self, message: events.DeliveryRequested) -> str:
        tries = self.submits[message.message_id]
        match message.text:
            case "refused":
                raise PermanentSubmitError("blocked")
            case "late" if tries <= MAX_RETRIES:
                raise TransientSubmitError("http_503")
            case "never":
                raise TransientSubmitError("timeout")
            case "throttled" if tries <= THROTTLES:
                raise Throttled
            case "crash":
                raise KeyError(message.encoding)
        return f"op-{message.message_id}"


class Delivered:
    def __init__(self) -> None:
        self.config = config_of_its_own(max_retries=MAX_RETRIES, retry_base=0.01, retry_cap=0.05)
        self.operator = Misbehaving()
        self.statuses: dict[str, list[events.StatusChanged]] = defaultdict(list)
        self.tries: dict[str, list[events.StatusChanged]] = defaultdict(list)
        self.dead_letters: list[Message] = []
        self.error: BaseException | None = None

    def of(self, case: str) -> events.StatusChanged:
        [event] = self.statuses[CASES[case].message_id]
        return event

    def submits(self, case: str) -> int:
        return self.operator.submits[CASES[case].message_id]


def _deliver(config: Config, operator: Misbehaving) -> RunningWorker:
    produce(config, [(0, value) for value in UNREADABLE])
    produce(config, [(number % 4, event) for number, event in enumerate([*ABSURD, *CASES.values(), *ORDINARY])])
    with RunningWorker(config, operator) as worker:
        wait_until(lambda: operator.accepted.total() == len(ORDINARY) + 3)
        wait_until(lambda: operator.submits[CASES["never"].message_id] > MAX_RETRIES)
        wait_until(lambda: operator.submits[CASES["crash"].message_id] > MAX_RETRIES)
    return worker


@pytest.fixture(scope="module")
def delivered() -> Delivered:
    found = Delivered()
    worker = _deliver(found.config, found.operator)
    for event in read_statuses(found.config):
        found.statuses[event.message_id].append(event)
    for event in read_tries(found.config):
        found.tries[event.message_id].append(event)
    found.dead_letters = read_all(found.config, found.config.kafka.topic_dead_letter)
    found.error = worker.error
    return found


def test_every_message_ends_in_exactly_one_status_event(delivered: Delivered) -> None:
    assert delivered.error is None
    wanted = {event.message_id for event in [*CASES.values(), *ORDINARY]}
    assert delivered.statuses.keys() == wanted
    assert all(len(found) == 1 for found in delivered.statuses.values())


def test_an_accepted_message_is_submitted_with_all_that_settlement_needs(delivered: Delivered) -> None:
    event, message = delivered.of("accepted"), CASES["accepted"]
    assert event == events.StatusChanged(
        message_id=message.message_id,
        customer_id=message.customer_id,
        status="submitted",
        at=event.at,
        operator=message.operator,
        operator_message_id=f"op-{message.message_id}",
        attempt=1,
        segments=3,
        cost=300,
    )
    assert message.accepted_at <= event.at <= time.time() * 1000


def test_a_permanent_refusal_rejects_at_once(delivered: Delivered) -> None:
    event = delivered.of("refused")
    assert (event.status, event.error, event.attempt) == ("rejected", "blocked", 1)
    assert delivered.submits("refused") == 1


def test_transient_errors_are_tried_again_and_counted(delivered: Delivered) -> None:
    event = delivered.of("late")
    assert (event.status, event.error, event.attempt) == ("submitted", "", MAX_RETRIES + 1)


def test_each_try_that_is_to_be_repeated_is_reported_with_the_operators_answer(delivered: Delivered) -> None:
    for case, error in (("late", "http_503"), ("never", "timeout"), ("crash", "internal_error")):
        found = delivered.tries.pop(CASES[case].message_id)
        assert [event.attempt for event in found] == list(range(1, MAX_RETRIES + 1))
        assert {(event.operator, event.error) for event in found} == {(CASES[case].operator, error)}
    assert delivered.tries == {}


def test_a_message_fails_when_its_retries_are_used_up(delivered: Delivered) -> None:
    event = delivered.of("never")
    assert (event.status, event.error, event.attempt) == ("failed", "timeout", MAX_RETRIES + 1)
    assert delivered.submits("never") == MAX_RETRIES + 1


def test_being_throttled_spends_no_try(delivered: Delivered) -> None:
    event = delivered.of("throttled")
    assert (event.status, event.attempt) == ("submitted", 1)
    assert delivered.submits("throttled") == THROTTLES + 1


def test_an_expired_message_is_not_submitted(delivered: Delivered) -> None:
    event = delivered.of("expired")
    assert (event.status, event.error, event.attempt) == ("expired", "validity_ended", 0)
    assert delivered.submits("expired") == 0


def test_a_fault_of_the_operators_code_fails_its_message_only(delivered: Delivered) -> None:
    event = delivered.of("crash")
    assert (event.status, event.error) == ("failed", "internal_error")


def test_a_message_for_an_operator_that_is_not_configured_fails(delivered: Delivered) -> None:
    event = delivered.of("unknown_operator")
    assert (event.status, event.error) == ("failed", "no_such_operator")


def test_unreadable_events_become_dead_letters_as_they_were(delivered: Delivered) -> None:
    assert len(delivered.dead_letters) == len(UNREADABLE) + len(ABSURD)
    letters = [letter for letter in delivered.dead_letters if letter.value() in UNREADABLE]
    assert sorted(letter.value() or b"" for letter in letters) == sorted(UNREADABLE)
    headers = dict(next(letter for letter in letters if letter.value() == UNREADABLE[0]).headers() or [])
    assert headers["reason"].startswith(b"unreadable: ")
    assert headers["source_topic"] == delivered.config.kafka.topic_delivery.encode()
    assert (headers["source_partition"], headers["source_offset"]) == (b"0", b"0")


def test_a_pace_or_length_that_nobody_can_keep_is_a_dead_letter(delivered: Delivered) -> None:
    found = {letter.value() for letter in delivered.dead_letters}
    assert found >= {events.encode(event) for event in ABSURD}
    assert not any(event.message_id in delivered.operator.submits for event in ABSURD)
