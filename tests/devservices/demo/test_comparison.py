"""The demo finds what must never happen: the tests make each kind of fault."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from apps.devservices.demo.comparison import Customer
from apps.devservices.demo.ledger import Books, Entry, Message
from apps.devservices.demo.report import table
from apps.devservices.demo.sender import Answers
from smsgateway import ids

DELIVERED, FAILED = ids.new_id(), ids.new_id()
TAKEN = {ids.to_text(DELIVERED)}


def books(**changes: Any) -> Books:
    """Two messages of 200 each; one was delivered, one failed and was refunded."""
    right = {
        "balance": 800,
        "entries": 4,
        "ledger": [
            Entry(1, "topup", 1000, 1000, None),
            Entry(2, "charge", -200, 800, DELIVERED),
            Entry(3, "charge", -200, 600, FAILED),
            Entry(4, "refund", 200, 800, FAILED),
        ],
        "messages": {
            DELIVERED: Message(DELIVERED, 2, 200, {"submitted": 1.0, "delivered": 2.0}, 0),
            FAILED: Message(FAILED, 2, 200, {"failed": 2.0}, 200),
        },
    }
    return Books(**{**right, **changes})


def customer(found: Books, *, spent: int = 400, refused: Counter[str] | None = None) -> Customer:
    answers = Answers([ids.to_text(DELIVERED), ids.to_text(FAILED)], spent, refused or Counter())
    return Customer("shop", ids.to_text(ids.new_id()), answers, found)


def changed(position: int, **changes: Any) -> list[Entry]:
    ledger = books().ledger
    ledger[position] = ledger[position]._replace(**changes)
    return ledger


def test_right_books_have_no_fault() -> None:
    assert customer(books()).faults() == []
    assert customer(books()).lost(TAKEN) == []
    compared = customer(books()).statistics()
    assert {name: count for name, count in compared.items() if count} == {
        "accepted": 2, "segments": 4, "cost": 400, "delivered": 1, "failed": 1, "refunded": 200
    }  # fmt: skip


@pytest.mark.parametrize(("currency", "balance"), [("IRR", "8.00"), ("JPY", "800"), ("KWD", "0.800")])
def test_the_table_shows_money_in_major_units_and_names_the_currency(currency: str, balance: str) -> None:
    made = table([customer(books())], currency=currency)
    cells = {str(column.header): list(column.cells) for column in made.columns}
    assert (cells["balance"], cells["ledger sum"]) == ([balance], [balance])
    assert str(made.title) == f"Customers; money in {currency}"


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"balance": 801}, "not the sum"),
        ({"entries": 5}, "gaps"),
        ({"ledger": changed(2, number=4)}, "gaps"),
        ({"ledger": changed(1, balance_after=801)}, "does not follow"),
        ({"ledger": changed(1, amount=-100)}, "charges"),
        ({"ledger": changed(2, message_id=DELIVERED)}, "twice"),
        ({"ledger": changed(3, message_id=DELIVERED)}, "refunds"),
        ({"ledger": books().ledger[:3], "balance": 600, "entries": 3}, "refunds"),
        ({"messages": books().messages | {FAILED: Message(FAILED, 2, 200, {"failed": 2.0}, 0)}}, "refunds"),
        ({"messages": books().messages | {DELIVERED: Message(DELIVERED, 2, 200, {"delivered": 2.0}, 200)}}, "refunds"),
    ],
)
def test_a_fault_in_the_books_is_reported(changes: dict[str, Any], complaint: str) -> None:
    assert any(complaint in fault for fault in books(**changes).faults())


def test_spending_that_the_api_did_not_report_is_a_fault() -> None:
    assert any("the API charged 300" in fault for fault in customer(books(), spent=300).faults())


def test_a_stored_message_that_the_api_did_not_answer_is_a_fault() -> None:
    compared = customer(books())
    compared.answers.message_ids.pop()
    assert any("stored messages" in fault for fault in compared.faults())


@pytest.mark.parametrize("reached", [{}, {"submitted": 1.0}])
def test_a_message_without_an_end_is_lost(reached: dict[str, float]) -> None:
    found = customer(books(messages={**books().messages, DELIVERED: Message(DELIVERED, 2, 200, reached, 0)}))
    assert found.lost(TAKEN) == [ids.to_text(DELIVERED)]


def test_a_message_that_is_not_stored_is_lost() -> None:
    messages = books().messages
    del messages[FAILED]
    assert customer(books(messages=messages)).lost(TAKEN) == [ids.to_text(FAILED)]


def test_a_delivered_message_that_no_operator_took_is_lost() -> None:
    assert customer(books()).lost(set()) == [ids.to_text(DELIVERED)]
