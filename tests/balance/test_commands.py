"""The commands for scripts: what they print, and that a repeated top-up is booked once."""

from __future__ import annotations

import io
import json

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from apps.balance.models import Account, LedgerEntry
from smsgateway import ids
from tests.support.customers import MakeCustomer

pytestmark = pytest.mark.django_db


def run(command: str, *arguments: str) -> str:
    out = io.StringIO()
    call_command(command, *arguments, stdout=out)
    return out.getvalue().strip()


def test_a_customer_is_made_with_its_limits() -> None:
    told = json.loads(run("create_customer", "Bazaar", "--pace", "7", "--messages-per-minute", "90", "--json"))
    customer = Account.objects.get(customer_id=ids.from_text(told["customer_id"])).customer
    assert (customer.segments_per_second, customer.messages_per_minute) == (7, 90)
    assert told == {"customer_id": ids.to_text(customer.pk), "name": "Bazaar", "balance": 0, "currency": "IRR"}


def test_a_repeated_reference_is_booked_once_and_told(make_customer: MakeCustomer) -> None:
    customer_id = ids.to_text(make_customer(balance=0))
    first = json.loads(run("topup", customer_id, "500", "--reference", "INV-7", "--json"))
    again = json.loads(run("topup", customer_id, "5.00", "--major", "--reference", " INV-7", "--json"))
    assert (first["booked"], again["booked"]) == (True, False)
    assert first | {"booked": False} == again
    assert (first["amount"], first["balance"], first["currency"]) == (500, 500, "IRR")
    assert "nothing was booked now" in run("topup", customer_id, "500", "--reference", "INV-7")
    assert LedgerEntry.objects.count() == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("600", "--reference", "INV-7"), "was booked with 500"),
        (("5.00", "--reference", "INV-8"), "--major takes major units"),
        (("1.000", "--major", "--reference", "INV-8"), "read as 1.00 IRR or as 1,000.00 IRR"),
        (("1,000", "--major", "--reference", "INV-8"), "read as 1.00 IRR or as 1,000.00 IRR"),
        (("۱٫۰۰۰", "--major", "--reference", "INV-8"), "read as 1.00 IRR or as 1,000.00 IRR"),
        (("5.500", "--major", "--reference", "INV-8"), "read as 5.50 IRR or as 5,500.00 IRR"),
        (("1e3", "--major", "--reference", "INV-8"), "Write an amount of IRR as"),
        (("inf", "--major", "--reference", "INV-8"), "Write an amount of IRR as"),
        (("92233720368547758.08", "--major", "--reference", "INV-8"), "too large"),
        (("92233720368547758.07", "--major", "--reference", "INV-8"), "larger than can be kept"),
        (("1_000", "--reference", "INV-8"), "whole number of minor units"),
        (("9" * 5000, "--reference", "INV-8"), "60 characters at most"),
        (("-0", "--reference=INV-8"), "positive"),
        (("5.001", "--major", "--reference", "INV-8"), "IRR has 2 decimal digits"),
        (("0", "--reference", "INV-8"), "positive"),
        (("5", "--reference", " "), "1 to 200 characters"),
    ],
)
def test_a_wrong_top_up_books_nothing(make_customer: MakeCustomer, arguments: tuple[str, ...], told: str) -> None:
    customer_id = ids.to_text(make_customer(balance=0))
    run("topup", customer_id, "500", "--reference", "INV-7")
    with pytest.raises(CommandError, match=told):
        run("topup", customer_id, *arguments)
    assert Account.objects.get().balance == 500


@pytest.mark.parametrize(
    ("text", "minor"),
    [
        ("1,000.50", 100_050),
        ("1000", 100_000),
        ("10,00,000", 100_000_000),
        ("1\u00a0000,50", 100_050),
        ("١٬٠٠٠", 100_000),
    ],
)
def test_an_amount_in_major_units_is_booked_and_named_in_both_units(
    make_customer: MakeCustomer, text: str, minor: int
) -> None:
    customer_id = ids.to_text(make_customer(balance=0))
    said = run("topup", customer_id, text, "--major", "--reference", "INV-7")
    amount = f"{minor // 100:,}.{minor % 100:02} IRR ({minor} minor units)"
    assert said == f"booked {amount}; balance {amount}"
    assert Account.objects.get().balance == minor


def test_decimals_that_are_zeros_count_as_decimals_of_the_currency(make_customer: MakeCustomer) -> None:
    customer_id = make_customer(balance=0)
    Account.objects.filter(customer_id=customer_id).update(currency="JPY")
    with pytest.raises(CommandError, match="5 JPY or as 50 JPY"):
        run("topup", ids.to_text(customer_id), "5.0", "--major", "--reference", "INV-7")
    Account.objects.filter(customer_id=customer_id).update(currency="KWD")
    with pytest.raises(CommandError, match=r"1\.000 KWD or as 1,000\.000 KWD"):
        run("topup", ids.to_text(customer_id), "1.000", "--major", "--reference", "INV-7")
    run("topup", ids.to_text(customer_id), "01.250", "--major", "--reference", "INV-7")
    assert Account.objects.get().balance == 1250
