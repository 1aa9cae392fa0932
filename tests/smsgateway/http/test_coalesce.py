"""Calls that run side by side and ask together."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Sequence

import pytest

from smsgateway.http import coalesce


class Asked:
    """Doubles numbers, and remembers which it was asked for together."""

    def __init__(self) -> None:
        self.together: list[list[int]] = []

    def double(self, numbers: Sequence[int]) -> list[int | Exception]:
        self.together.append(list(numbers))
        return [ValueError("odd") if number % 2 else number * 2 for number in numbers]


def test_calls_are_answered_together_each_with_its_own() -> None:
    asked, told = Asked(), list[object]()
    coalesce.run([lambda number=number: told.append(coalesce.ask(asked.double, number)) for number in (2, 4, 6)])
    assert (asked.together, told) == ([[2, 4, 6]], [4, 8, 12])


def test_an_exception_is_raised_where_it_was_asked() -> None:
    asked, told = Asked(), list[object]()

    def call(number: int) -> None:
        try:
            told.append(coalesce.ask(asked.double, number))
        except ValueError as error:
            told.append(str(error))

    coalesce.run([lambda number=number: call(number) for number in (2, 3, 4)])
    assert (asked.together, told) == ([[2, 3, 4]], [4, "odd", 8])


def test_if_the_answering_itself_fails_each_call_is_told() -> None:
    told = []

    def fail(_numbers: Sequence[int]) -> list[int | Exception]:
        raise ZeroDivisionError

    def call() -> None:
        with pytest.raises(ZeroDivisionError):
            coalesce.ask(fail, 1)
        told.append("failed")

    coalesce.run([call, call])
    assert told == ["failed", "failed"]


def test_calls_may_not_ask_or_ask_again_or_ask_something_else() -> None:
    asked, other, told = Asked(), Asked(), list[object]()
    calls: list[Callable[[], None]] = [
        lambda: told.append("nothing"),
        lambda: told.append(coalesce.ask(asked.double, coalesce.ask(asked.double, 2))),
        lambda: told.append(coalesce.ask(other.double, 6)),
        lambda: told.append(coalesce.ask(asked.double, 8)),
    ]
    coalesce.run(calls)
    assert (asked.together, other.together) == ([[2, 8], [4]], [[6]])
    assert told == ["nothing", 16, 8, 12]


@pytest.mark.parametrize("run", [lambda call: call(), lambda call: coalesce.run([call])], ids=["outside", "one call"])
def test_who_is_alone_asks_alone(run: Callable[[Callable[[], None]], None]) -> None:
    asked, told = Asked(), list[object]()
    run(lambda: told.append(coalesce.ask(asked.double, 2)))
    assert (asked.together, told) == ([[2]], [4])


def test_context_variables_are_each_calls_own() -> None:
    """The request id of log lines is one."""
    asked, told = Asked(), list[object]()
    variable = contextvars.ContextVar("variable", default=0)

    def call(number: int) -> None:
        variable.set(number)
        coalesce.ask(asked.double, number)
        told.append(variable.get())

    coalesce.run([lambda number=number: call(number) for number in (2, 4)])
    assert (told, variable.get()) == ([2, 4], 0)
