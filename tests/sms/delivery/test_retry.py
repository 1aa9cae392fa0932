"""When a message is retried."""

from __future__ import annotations

import dataclasses

import pytest
from django.conf import settings

from apps.sms.delivery.retry import backoff

CONFIG = dataclasses.replace(settings.CONFIG.worker, retry_base=1.0, retry_cap=60.0)


@pytest.mark.parametrize(("delays", "longest"), [(1, 1.0), (2, 2.0), (5, 16.0), (7, 60.0), (1000, 60.0)])
def test_it_doubles_up_to_the_cap_with_jitter_of_half(delays: int, longest: float) -> None:
    found = [backoff(delays, config=CONFIG) for _ in range(300)]
    assert longest / 2 <= min(found) <= max(found) <= longest
    assert max(found) - min(found) > longest / 4


def test_the_operators_own_delay_is_a_lower_bound() -> None:
    assert backoff(1, config=CONFIG, retry_after=30.0) == 30.0
    assert backoff(7, config=CONFIG, retry_after=1.0) >= 30.0


def test_no_operator_can_park_a_message() -> None:
    assert backoff(1, config=CONFIG, retry_after=1e9) == 60.0
