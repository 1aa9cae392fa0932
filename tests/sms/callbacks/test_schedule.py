"""When a callback is tried again."""

from __future__ import annotations

import pytest
from django.conf import settings

from apps.sms.callbacks.schedule import retry_delay

DELAYS = [5.0, 30.0, 120.0]


def test_the_tries_follow_the_schedule_and_end() -> None:
    found = [retry_delay(failed, delays=DELAYS, chance=0.5) for failed in (1, 2, 3, 4)]
    assert found == [5.0, 30.0, 120.0, None]


def test_chance_moves_a_try_by_a_tenth() -> None:
    assert retry_delay(2, delays=DELAYS, chance=0) == pytest.approx(27)
    assert retry_delay(2, delays=DELAYS, chance=1) == pytest.approx(33)


def test_the_usual_schedule_goes_on_for_about_three_days() -> None:
    delays = [float(delay) for delay in settings.CONFIG.callback.retry_delays]
    assert len(delays) == 10
    assert 2.5 < sum(delays) / 86_400 < 3.5


def test_the_delay_is_at_least_the_endpoints_retry_after() -> None:
    assert retry_delay(1, delays=DELAYS, retry_after=60.0, chance=0.5) == 60
    assert retry_delay(1, delays=DELAYS, retry_after=1.0, chance=0.5) == 5
    assert retry_delay(1, delays=DELAYS, retry_after=1e9, chance=0.5) == 86_400
    assert retry_delay(4, delays=DELAYS, retry_after=60.0, chance=0.5) is None
