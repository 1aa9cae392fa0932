"""Many receipts in random order, some twice, some before their submit: every message and every refund is right."""

from __future__ import annotations

import pytest

from scripts import receipt_load
from tests.support.customers import MakeCustomer


@pytest.mark.parametrize("seed", [1, 2])
def test_every_message_ends_right_whatever_the_order_of_its_receipts(make_customer: MakeCustomer, seed: int) -> None:
    told = receipt_load.run(customers=[make_customer() for _ in range(7)], messages=5000, seed=seed)
    wrong = ("wrong_status", "wrong_refund", "balance_not_ledger_sum", "still_waiting")
    assert {name: told[name] for name in wrong} == dict.fromkeys(wrong, 0)
    assert told["refunds"] > 500
    assert told["receipts"] > told["messages"] * 1.2
