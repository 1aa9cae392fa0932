"""When statistics are due again: how much of the time computing them may take."""

from __future__ import annotations

import pytest

from apps.reporting.ingest.refresher import BEHIND_SHARE, DAYS_SHARE, MINUTES_SHARE, SECONDS, Pace


def seconds_until_due(pace: Pace, *, behind: bool = False, idle: bool = False) -> float:
    """From the end of the computing, to a hundredth."""
    return next(
        hundredths / 100 for hundredths in range(100_000) if pace.is_due(hundredths / 100, behind=behind, idle=idle)
    )


def test_the_first_is_due_at_once() -> None:
    assert Pace(MINUTES_SHARE).is_due(0.0, behind=True, idle=False)


@pytest.mark.parametrize("share", [MINUTES_SHARE, DAYS_SHARE])
def test_a_long_computing_waits_so_long_that_it_keeps_to_its_share(share: float) -> None:
    pace = Pace(share, took=3.0, ended=0.0)
    assert 3.0 / (3.0 + seconds_until_due(pace)) == pytest.approx(share, rel=0.01)


@pytest.mark.parametrize("idle", [False, True])
@pytest.mark.parametrize("behind", [False, True])
def test_a_short_one_is_made_once_a_second(*, idle: bool, behind: bool) -> None:
    pace = Pace(MINUTES_SHARE, took=0.01, ended=0.0)
    assert seconds_until_due(pace, behind=behind, idle=idle) == pytest.approx(SECONDS - 0.01, abs=0.011)


@pytest.mark.parametrize("share", [MINUTES_SHARE, DAYS_SHARE])
def test_far_behind_it_leaves_the_time_to_inserting(share: float) -> None:
    pace = Pace(share, took=3.0, ended=0.0)
    assert 3.0 / (3.0 + seconds_until_due(pace, behind=True)) == pytest.approx(BEHIND_SHARE, rel=0.01)


def test_when_nothing_comes_nobody_waits_for_a_share() -> None:
    assert seconds_until_due(Pace(DAYS_SHARE, took=3.0, ended=0.0), idle=True) == 0.0
    assert seconds_until_due(Pace(DAYS_SHARE, took=0.4, ended=0.0), idle=True) == pytest.approx(SECONDS - 0.4)
