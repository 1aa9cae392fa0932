"""Top-ups, adjustments and sends on one account at once: `scripts.money_load`, briefly."""

from __future__ import annotations

import pytest

from scripts.money_load import run


@pytest.mark.django_db(transaction=True)
def test_the_balance_is_the_ledgers_sum_and_never_negative(transactional_db: None) -> None:
    told = run(seconds=2)
    assert told["right"], told
    assert all(told[name] for name in ("sends", "top_ups", "adjustments")), told
