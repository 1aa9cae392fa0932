"""The monthly statement: by the ledger, to the unit."""

from __future__ import annotations

import datetime as dt
import itertools
import random
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test import Client, override_settings

from apps.balance.errors import StatementArchived
from apps.balance.models import LedgerEntry
from apps.balance.statement import statement
from smsgateway import ids
from smsgateway.partitions import create
from tests.support.customers import MakeCustomer

MONTH = "2026-03"
MARCH, APRIL, MAY = (dt.datetime(2026, month, 1, tzinfo=dt.UTC) for month in (3, 4, 5))
AUTUMN = dt.datetime(2026, 2, 27, tzinfo=dt.UTC)


@pytest.fixture
def client(db: None) -> Iterator[Client]:
    create(first=AUTUMN.date(), days=70, tables=["balance_ledgerentry"])
    with override_settings(ROOT_URLCONF="smsgateway.urls.reporting"):
        yield Client()


def at(moment: dt.datetime) -> UUID:
    return UUID(int=ids.lowest_id(moment).int | (ids.new_id().int & ((1 << 80) - 1)))


def book(customer_id: UUID, *entries: tuple[dt.datetime, str, int]) -> None:
    """Entries in the account's order, whatever their times; the account is carried on."""
    balance, number = 0, 0
    for moment, kind, amount in entries:
        balance, number = balance + amount, number + 1
        LedgerEntry(
            id=at(moment), customer_id=customer_id, entry=number, kind=kind, amount=amount, balance_after=balance
        ).save(force_insert=True)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE balance_account SET balance = %s, entries = %s WHERE customer_id = %s",
            [balance, number, customer_id],
        )


def ask(client: Client, customer_id: UUID, **asked: str) -> Any:
    return client.get(f"/v1/customers/{ids.to_text(customer_id)}/statement", {"month": MONTH} | asked)


def test_a_months_statement_is_exact_to_the_minor_unit(client: Client, make_customer: MakeCustomer) -> None:
    customer_id = make_customer(balance=0)
    day = dt.timedelta(days=1)
    book(
        customer_id,
        (MARCH - day, "topup", 1000),
        (MARCH + day, "charge", -300),
        (MARCH + 2 * day, "topup", 50),
        (MARCH + 3 * day, "refund", 100),
        (APRIL + day, "charge", -7),
    )
    answer = ask(client, customer_id).json()
    moved = {movement["kind"]: (movement["amount"], movement["entries"]) for movement in answer.pop("movements")}
    assert moved.items() >= {"topup": (50, 1), "charge": (-300, 1), "refund": (100, 1)}.items()
    assert answer == {
        "customer_id": ids.to_text(customer_id),
        "month": MONTH,
        "tz": "UTC",
        "from": "2026-03-01T00:00:00Z",
        "to": "2026-04-01T00:00:00Z",
        "complete": True,
        "currency": "IRR",
        "opening_balance": 1000,
        "closing_balance": 850,
    }


def test_the_zone_moves_the_bounds(client: Client, make_customer: MakeCustomer) -> None:
    customer_id = make_customer(balance=0)
    book(customer_id, (MARCH - dt.timedelta(hours=1), "topup", 10))
    assert ask(client, customer_id).json()["opening_balance"] == 10
    there = ask(client, customer_id, tz="Asia/Tehran").json()
    assert (there["opening_balance"], there["closing_balance"]) == (0, 10)
    assert there["from"] == "2026-02-28T20:30:00Z"


def test_the_first_month_of_all_is_empty(client: Client, make_customer: MakeCustomer) -> None:
    """No id is as old as the days before it, which the look-up asks for too."""
    answer = ask(client, make_customer(balance=0), month="1970-01").json()
    assert (answer["opening_balance"], answer["closing_balance"]) == (0, 0)


def test_months_without_entries_keep_the_balance_before(client: Client, make_customer: MakeCustomer) -> None:
    never, before, later = (make_customer(balance=0) for _ in range(3))
    book(before, (MARCH - dt.timedelta(days=2), "topup", 5))
    book(later, (APRIL + dt.timedelta(days=2), "topup", 5))
    found = [ask(client, customer_id).json() for customer_id in (never, before, later)]
    assert [(answer["opening_balance"], answer["closing_balance"]) for answer in found] == [(0, 0), (5, 5), (0, 0)]


def test_entries_that_crossed_each_other_at_midnight_count_in_their_own_month(
    client: Client, make_customer: MakeCustomer
) -> None:
    """Each statement sums the amounts by their ids' time, and opens with what the one before closed with."""
    chance = random.Random(7)  # no secret
    for _ in range(20):
        customer_id = make_customer(balance=0)
        entries = [(AUTUMN, "topup", 10_000)]
        for bound in (MARCH, APRIL):
            near = [
                (bound + dt.timedelta(seconds=chance.randint(-20, 20)), "charge", -number) for number in range(1, 6)
            ]
            chance.shuffle(near)
            entries += near
        book(customer_id, *entries)
        bounds = [AUTUMN - dt.timedelta(days=20), MARCH, APRIL, MAY]
        found = [
            statement(customer_id=customer_id, since=since, until=until) for since, until in itertools.pairwise(bounds)
        ]
        for (since, _), month in zip(itertools.pairwise(bounds), found, strict=True):
            assert month.opening == sum(amount for moment, _, amount in entries if moment < since)
        assert [month.closing for month in found[:-1]] == [month.opening for month in found[1:]]


def archive(customer_id: UUID, *days: dt.date) -> None:
    """What archiving leaves of these days of the ledger: the account's closing rows, and no partitions."""
    with connection.cursor() as cursor:
        for day in days:
            name = f"balance_ledgerentry_{day:%Y%m%d}"
            cursor.execute(
                "INSERT INTO balance_closing SELECT %s, %s, sum(amount), count(*), min(entry), max(entry),"
                f" (array_agg(balance_after ORDER BY entry DESC))[1] FROM {name} HAVING count(*) > 0",
                [customer_id, name],
            )
            cursor.execute(f"DROP TABLE {name}")


def moved_of(customer_id: UUID, since: dt.datetime, until: dt.datetime) -> tuple[int, dict[str, int], int]:
    found = statement(customer_id=customer_id, since=since, until=until)
    return found.opening, {kind: amount for kind, (amount, _) in found.moved.items() if amount}, found.closing


@pytest.mark.parametrize("early", [dt.timedelta(minutes=5), dt.timedelta(minutes=15), dt.timedelta(hours=2)])
def test_an_id_that_is_much_older_than_its_entry_stops_no_statement(
    client: Client, make_customer: MakeCustomer, early: dt.timedelta
) -> None:
    """Earlier versions gave a top-up the time at which its form was shown; and clocks may be wrong."""
    customer_id = make_customer(balance=0)
    book(
        customer_id,
        (MARCH, "topup", 1000),
        (APRIL - dt.timedelta(minutes=1), "charge", -10),
        (APRIL + dt.timedelta(minutes=2), "charge", -10),
        (APRIL - early, "topup", 500),
        (APRIL + dt.timedelta(minutes=5), "charge", -10),
    )
    assert moved_of(customer_id, MARCH, APRIL) == (0, {"topup": 1500, "charge": -10}, 1490)
    assert moved_of(customer_id, APRIL, MAY) == (1490, {"charge": -20}, 1470)
    assert ask(client, customer_id).status_code == 200


def test_a_charge_that_waited_over_midnight_is_in_the_old_month_even_when_that_is_archived(
    client: Client, make_customer: MakeCustomer
) -> None:
    customer_id = make_customer(balance=0)
    second = dt.timedelta(seconds=1)
    book(
        customer_id,
        (MARCH, "topup", 1000),
        (APRIL + second, "charge", -10),
        (APRIL - second, "charge", -7),
        (APRIL + 2 * second, "charge", -10),
    )
    whole = moved_of(customer_id, APRIL, MAY)
    assert whole == (993, {"charge": -20}, 973)
    days = [(MARCH + dt.timedelta(days=number)).date() for number in range(31)]
    archive(customer_id, *days[20:])
    assert moved_of(customer_id, APRIL, MAY) == whole
    archive(customer_id, *days[:20])
    assert moved_of(customer_id, APRIL, MAY) == whole
    with pytest.raises(StatementArchived, match="restore"):
        statement(customer_id=customer_id, since=MARCH, until=APRIL)


def test_a_month_between_archived_ones_is_exact_when_like_charges_crossed_both_midnights(
    client: Client, make_customer: MakeCustomer
) -> None:
    """As after its days were restored alone: what lacks at one bound equals what lacks at the other."""
    customer_id = make_customer(balance=0)
    second = dt.timedelta(seconds=1)
    near = [(bound + way * second, "charge", -7) for bound in (APRIL, MAY) for way in (1, -1, 2)]
    book(customer_id, (MARCH, "topup", 1000), *near)
    whole = moved_of(customer_id, APRIL, MAY)
    assert whole == (993, {"charge": -21}, 972)
    archive(customer_id, MARCH.date(), (APRIL - second).date(), MAY.date())
    assert moved_of(customer_id, APRIL, MAY) == whole


def test_a_missing_entry_beside_an_archived_day_is_not_passed_over(client: Client, make_customer: MakeCustomer) -> None:
    customer_id = make_customer(balance=0)
    second = dt.timedelta(seconds=1)
    book(customer_id, (MARCH, "topup", 9), (APRIL + second, "charge", -1), (APRIL - second, "charge", -1))
    archive(customer_id, (APRIL - second).date())
    assert moved_of(customer_id, APRIL, MAY) == (8, {"charge": -1}, 7)
    LedgerEntry.objects.filter(customer_id=customer_id, entry=1).delete()
    with pytest.raises(StatementArchived, match="missing"):
        statement(customer_id=customer_id, since=APRIL, until=MAY)


def test_entries_before_the_month_need_not_be_there_and_those_of_it_must(
    client: Client, make_customer: MakeCustomer
) -> None:
    customer_id = make_customer(balance=0)
    day = dt.timedelta(days=1)
    book(customer_id, (MARCH - day, "topup", 1000), (MARCH + day, "charge", -1), (MARCH + 2 * day, "charge", -1))
    LedgerEntry.objects.filter(customer_id=customer_id, entry=1).delete()
    assert ask(client, customer_id).json()["opening_balance"] == 1000
    with connection.cursor() as cursor:
        archived = "balance_ledgerentry_20260302"
        cursor.execute(
            "INSERT INTO balance_closing SELECT customer_id, %s, amount, 1, entry, entry, balance_after"
            " FROM balance_ledgerentry WHERE customer_id = %s AND entry = 2",
            [archived, customer_id],
        )
        assert ask(client, customer_id).status_code == 200  # its partition is still there
        cursor.execute(f"DROP TABLE {archived}")
    lacking = ask(client, customer_id)
    assert (lacking.status_code, lacking.json()["code"]) == (410, "statement_archived")


def test_a_missing_entry_is_never_passed_over(client: Client, make_customer: MakeCustomer) -> None:
    customer_id = make_customer(balance=0)
    day = dt.timedelta(days=1)
    book(customer_id, *((MARCH + number * day, "topup", 1) for number in (1, 2, 3)))
    LedgerEntry.objects.filter(customer_id=customer_id, entry=2).delete()
    with pytest.raises(StatementArchived):
        statement(customer_id=customer_id, since=MARCH, until=APRIL)


def test_errors_are_reported(client: Client, make_customer: MakeCustomer) -> None:
    customer_id = make_customer()
    for month in ("2026-13", "March", "2026-3", "2999-01"):
        response = ask(client, customer_id, month=month)
        assert response.status_code == 400, month
        assert response.json()["errors"][0]["field"] == "month"
    nobody = ask(client, ids.new_id())
    assert (nobody.status_code, nobody.json()["code"]) == (404, "customer_not_found")


def test_the_running_month_is_not_complete_and_ends_with_the_balance(
    client: Client, make_customer: MakeCustomer
) -> None:
    customer_id = make_customer(balance=123)
    now = dt.datetime.now(tz=dt.UTC)
    answer = ask(client, customer_id, month=f"{now:%Y-%m}").json()
    assert (answer["complete"], answer["closing_balance"]) == (False, 123)
