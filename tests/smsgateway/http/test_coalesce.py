"""Questions that come while an answer is on its way go together with the next one."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Sequence

import pytest

from smsgateway import event_loop
from smsgateway.http import coalesce
from tests.support.event_loop import on_loop


class Doubler:
    """Doubles numbers once `go_on` is set, and records which ones it got together."""

    def __init__(self) -> None:
        self.together: list[list[int]] = []
        self.go_on = threading.Event()

    def double(self, numbers: Sequence[int]) -> list[int | Exception]:
        self.together.append(list(numbers))
        assert self.go_on.wait(60)
        return [ValueError("odd") if number % 2 else number * 2 for number in numbers]


@pytest.fixture
def doubler() -> Doubler:
    return Doubler()


@pytest.fixture
def group(doubler: Doubler) -> coalesce.Group[int, int]:
    return coalesce.Group(doubler.double, name="test", most=3)


def test_what_comes_while_an_answer_is_on_its_way_goes_together(
    doubler: Doubler, group: coalesce.Group[int, int]
) -> None:
    results: dict[int, int] = {}
    numbers = [2, 4, 6, 8, 10]
    on_loop(
        [lambda number=number: results.update({number: group.ask(number)}) for number in numbers],
        then=doubler.go_on.set,
    )
    assert doubler.together == [[2], [4, 6, 8], [10]]  # at most three
    assert results == {number: number * 2 for number in numbers}


def test_an_exception_is_raised_in_the_call_that_asked(doubler: Doubler, group: coalesce.Group[int, int]) -> None:
    results: list[object] = []

    def call(number: int) -> None:
        try:
            results.append(group.ask(number))
        except ValueError as error:
            results.append(str(error))

    doubler.go_on.set()
    on_loop([lambda number=number: call(number) for number in (2, 3, 4)])
    assert results == [4, "odd", 8]


def test_if_answering_fails_every_call_gets_the_exception() -> None:
    failed = []

    def fail(_numbers: Sequence[int]) -> list[int | Exception]:
        raise ZeroDivisionError

    group: coalesce.Group[int, int] = coalesce.Group(fail, name="test")

    def call() -> None:
        with pytest.raises(ZeroDivisionError):
            group.ask(1)
        failed.append(1)

    on_loop([call, call])
    assert failed == [1, 1]


def test_elsewhere_a_call_asks_alone(doubler: Doubler, group: coalesce.Group[int, int]) -> None:
    doubler.go_on.set()
    assert group.ask(2) == 4
    with pytest.raises(ValueError, match="odd"):
        group.ask(3)
    assert doubler.together == [[2], [3]]


def test_a_look_up_in_a_thread_lets_other_calls_go_on() -> None:
    results, go_on = list[object](), threading.Event()

    def wait() -> str:
        assert go_on.wait(60)
        return "waited"

    on_loop([lambda: results.append(event_loop.in_thread(wait)), lambda: results.append("meanwhile")], then=go_on.set)
    assert results == ["meanwhile", "waited"]
    assert event_loop.in_thread(lambda: "at once") == "at once"


def test_context_variables_are_each_calls_own() -> None:
    """The request id of log lines is one. A look-up in a thread has its call's."""
    results = list[object]()
    variable = contextvars.ContextVar("variable", default=0)

    def call(number: int) -> None:
        variable.set(number)
        results.append(event_loop.in_thread(variable.get))
        results.append(variable.get())

    on_loop([lambda number=number: call(number) for number in (2, 4)])
    assert (sorted(results), variable.get()) == ([2, 2, 4, 4], 0)
