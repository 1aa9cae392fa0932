"""When statistics are due again: how much of the time computing them may take."""

from __future__ import annotations

import pytest

from apps.reporting.ingest.refresher import CATCHING_UP_SHARE, DAYS_SHARE, MINUTES_SHARE, SECONDS, Pace


def seconds_until_due(pace: Pace, *, catching_up: bool = False, idle: bool = False) -> float:
    """The seconds from the end of the computation, to a hundredth."""
    return next(
        hundredths / 100
        for hundredths in range(100_000)
        if pace.is_due(hundredths / 100, catching_up=catching_up, idle=idle)
    )


def test_the_first_is_due_at_once() -> None:
    assert Pace(MINUTES_SHARE).is_due(0.0, catching_up=True, idle=False)


@pytest.mark.parametrize("share", [MINUTES_SHARE, DAYS_SHARE])
def test_after_a_long_computation_it_waits_until_its_share_is_kept(share: float) -> None:
    pace = Pace(share, took=3.0, ended=0.0)
    assert 3.0 / (3.0 + seconds_until_due(pace)) == pytest.approx(share, rel=0.01)


@pytest.mark.parametrize("idle", [False, True])
@pytest.mark.parametrize("catching_up", [False, True])
def test_a_short_computation_runs_once_a_second(*, idle: bool, catching_up: bool) -> None:
    pace = Pace(MINUTES_SHARE, took=0.01, ended=0.0)
    assert seconds_until_due(pace, catching_up=catching_up, idle=idle) == pytest.approx(SECONDS - 0.01, abs=0.011)


@pytest.mark.parametrize("share", [MINUTES_SHARE, DAYS_SHARE])
def test_while_catching_up_it_leaves_more_time_to_inserting(share: float) -> None:
    pace = Pace(share, took=3.0, ended=0.0)
    assert 3.0 / (3.0 + seconds_until_due(pace, catching_up=True)) == pytest.approx(CATCHING_UP_SHARE, rel=0.01)


def test_without_events_the_share_does_not_delay_a_computation() -> None:
    assert seconds_until_due(Pace(DAYS_SHARE, took=3.0, ended=0.0), idle=True) == 0.0
    assert seconds_until_due(Pace(DAYS_SHARE, took=0.4, ended=0.0), idle=True) == pytest.approx(SECONDS - 0.4)
