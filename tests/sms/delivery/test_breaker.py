"""The circuit breaker opens after failures in a row, probes with one message, and closes by itself."""

from __future__ import annotations

from apps.sms.delivery.breaker import CircuitBreaker


def opened(*, now: float = 0.0) -> CircuitBreaker:
    breaker = CircuitBreaker(failures=3, seconds=1.0)
    assert [breaker.failed(now=now) for _ in range(3)] == [False, False, True]
    return breaker


def test_a_success_between_failures_keeps_it_closed() -> None:
    breaker = CircuitBreaker(failures=3, seconds=1.0)
    for _ in range(10):
        assert not breaker.failed(now=0.0)
        assert not breaker.failed(now=0.0)
        assert not breaker.succeeded()
    assert breaker.is_closed
    assert breaker.wait(now=0.0) == 0.0


def test_it_lets_one_probe_through_when_its_time_has_passed() -> None:
    breaker = opened()
    assert not breaker.is_closed
    assert 0.5 <= breaker.wait(now=0.0) <= 1.0
    assert breaker.wait(now=1.0) == 0.0
    breaker.submit_started()
    assert breaker.wait(now=1.0) == float("inf")
    assert breaker.succeeded()
    assert breaker.is_closed


def test_failing_probes_double_the_time_up_to_half_a_minute() -> None:
    breaker, now, waits = opened(), 0.0, []
    for _ in range(10):
        now += breaker.wait(now=now)
        breaker.submit_started()
        assert breaker.failed(now=now)
        waits.append(breaker.wait(now=now))
    for number, wait in enumerate(waits):
        longest = min(30.0, 2.0 ** (number + 1))
        assert longest / 2 - 1e-9 <= wait <= longest


def test_submits_that_were_under_way_when_it_opened_do_not_prolong_it() -> None:
    breaker = opened()
    wait = breaker.wait(now=0.0)
    assert not breaker.failed(now=0.0)
    assert breaker.wait(now=0.0) == wait


def test_a_probe_without_an_answer_makes_room_for_another() -> None:
    breaker = opened()
    breaker.submit_started()
    breaker.abandoned()
    assert breaker.wait(now=1.0) == 0.0
