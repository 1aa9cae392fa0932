"""Calls that run side by side and ask together."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Sequence

import pytest

from smsgateway.http import coalesce


class Doubler:
    """Doubles numbers, and records which ones it got together."""

    def __init__(self) -> None:
        self.together: list[list[int]] = []

    def double(self, numbers: Sequence[int]) -> list[int | Exception]:
        self.together.append(list(numbers))
        return [ValueError("odd") if number % 2 else number * 2 for number in numbers]


def test_calls_are_answered_together_each_with_its_own() -> None:
    doubler, results = Doubler(), list[object]()
    coalesce.run([lambda number=number: results.append(coalesce.ask(doubler.double, number)) for number in (2, 4, 6)])
    assert (doubler.together, results) == ([[2, 4, 6]], [4, 8, 12])


def test_an_exception_is_raised_in_the_call_that_asked() -> None:
    doubler, results = Doubler(), list[object]()

    def call(number: int) -> None:
        try:
            results.append(coalesce.ask(doubler.double, number))
        except ValueError as error:
            results.append(str(error))

    coalesce.run([lambda number=number: call(number) for number in (2, 3, 4)])
    assert (doubler.together, results) == ([[2, 3, 4]], [4, "odd", 8])


def test_if_answering_fails_every_call_gets_the_exception() -> None:
    results = []

    def fail(_numbers: Sequence[int]) -> list[int | Exception]:
        raise ZeroDivisionError

    def call() -> None:
        with pytest.raises(ZeroDivisionError):
            coalesce.ask(fail, 1)
        results.append("failed")

    coalesce.run([call, call])
    assert results == ["failed", "failed"]


def test_calls_can_ask_nothing_or_several_questions() -> None:
    doubler, another, results = Doubler(), Doubler(), list[object]()
    calls: list[Callable[[], None]] = [
        lambda: results.append("nothing"),
        lambda: results.append(coalesce.ask(doubler.double, coalesce.ask(doubler.double, 2))),
        lambda: results.append(coalesce.ask(another.double, 6)),
        lambda: results.append(coalesce.ask(doubler.double, 8)),
    ]
    coalesce.run(calls)
    assert (doubler.together, another.together) == ([[2, 8], [4]], [[6]])
    assert results == ["nothing", 16, 8, 12]


@pytest.mark.parametrize("run", [lambda call: call(), lambda call: coalesce.run([call])], ids=["outside", "one call"])
def test_a_single_call_asks_alone(run: Callable[[Callable[[], None]], None]) -> None:
    doubler, results = Doubler(), list[object]()
    run(lambda: results.append(coalesce.ask(doubler.double, 2)))
    assert (doubler.together, results) == ([[2]], [4])


def test_context_variables_are_each_calls_own() -> None:
    """The request id of log lines is one."""
    doubler, results = Doubler(), list[object]()
    variable = contextvars.ContextVar("variable", default=0)

    def call(number: int) -> None:
        variable.set(number)
        coalesce.ask(doubler.double, number)
        results.append(variable.get())

    coalesce.run([lambda number=number: call(number) for number in (2, 4)])
    assert (results, variable.get()) == ([2, 4], 0)
