"""Single sends that one statement writes together: each has the outcome that it would have alone."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from apps.balance.models import Account, LedgerEntry
from apps.balance.selectors import accounts_off
from apps.customers.models import Customer
from apps.sms.models import Message, OutboxEntry, ScheduledEntry
from smsgateway import ids
from tests.support import together
from tests.support.customers import MakeCustomer
from tests.support.database import wait_until_blocked

TOMORROW = (dt.datetime.now(tz=dt.UTC) + dt.timedelta(days=1)).isoformat()
WRONG = {"to": "1"}

Wish = dict[str, Any]


def wish(customer_id: UUID, key: str = "", **change: object) -> Wish:
    headers = {"Idempotency-Key": key} if key else {}
    return {
        "headers": headers,
        "body": {"customer_id": ids.to_text(customer_id), "to": "09121234567", "text": "hi"} | change,
    }


def send(one: Wish) -> Any:
    client = APIClient(raise_request_exception=False)
    return client.post("/v1/sms/send", one["body"], format="json", headers=one["headers"])


def send_together(wishes: Sequence[Wish]) -> list[Any]:
    """Their answers, in order, as the API's worker handles what comes at the same moment."""
    answers: dict[int, Any] = {}

    def call(place: int) -> Callable[[], None]:
        return lambda: answers.update({place: send(wishes[place])})

    together.run([call(place) for place in range(len(wishes))])
    return [answers[place] for place in range(len(wishes))]


def summary(answer: Any) -> tuple[object, ...]:
    body = answer.json()
    known = [
        body.get(name) for name in ("status", "code", "detail", "balance", "cost", "segments", "send_at", "errors")
    ]
    return (answer.status_code, "Idempotent-Replayed" in answer, *known)


def written(customer_id: UUID) -> dict[str, object]:
    """All that the database has of a customer, but for ids and times."""
    account = Account.objects.get(customer_id=customer_id)
    ledger = LedgerEntry.objects.filter(customer_id=customer_id).order_by("entry")
    messages = list(Message.objects.filter(customer_id=customer_id))
    texts = {message.id: message.text for message in messages}
    assert {entry.message_id for entry in ledger if entry.message_id} == texts.keys()
    return {
        "account": (account.balance, account.entries),
        "ledger": [
            (entry.entry, entry.kind, entry.amount, entry.balance_after, texts.get(entry.message_id))
            for entry in ledger
        ],
        "messages": sorted((one.text, one.recipient, one.operator, one.cost, one.priority) for one in messages),
        "outbox": [
            (texts[entry.message_id], entry.request_id != "")
            for entry in OutboxEntry.objects.filter(customer_id=customer_id).order_by("id")
        ],
        "scheduled": sorted(
            (texts[entry.message_id], entry.send_at) for entry in ScheduledEntry.objects.filter(customer_id=customer_id)
        ),
    }


@pytest.mark.usefixtures("each_lock")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("seed", range(12))
def test_random_groups_end_as_one_by_one(make_customer: MakeCustomer, seed: int) -> None:
    chance = random.Random(seed)
    kinds = [chance.choice([0, 100, 250, 400, 10_000, 10_000, 10_000]) for _ in range(chance.randint(1, 5))]
    twins = [[make_customer(balance=balance) for balance in kinds] for _ in range(2)]
    suspended = chance.choice([None, *range(len(kinds))])
    for customers in twins:
        customers.append(ids.new_id())  # nobody's
        if suspended is not None:
            Customer.objects.filter(id=customers[suspended]).update(status=Customer.Status.SUSPENDED)
    for _group in range(3):
        group = [
            (
                chance.randrange(len(kinds) + 1),
                chance.choice(["", "", "", "a", "b"]),
                {
                    "text": chance.choice(["x", "y"]) * chance.choice([1, 1, 170]),
                    **chance.choice([{}, {}, {"send_at": TOMORROW}, WRONG, {"priority": "otp"}]),
                },
            )
            for _ in range(chance.randint(1, 12))
        ]
        # An invalid request is looked up as a repetition before the other requests of its group are done.
        group = [(place, "" if WRONG.items() <= change.items() else key, change) for place, key, change in group]
        first, second = ([wish(twin[place], key, **change) for place, key, change in group] for twin in twins)
        together, alone = [summary(one) for one in send_together(first)], [summary(send(one)) for one in second]
        nobody = [ids.to_text(customers[-1]) for customers in twins]
        assert str(together).replace(nobody[0], "nobody") == str(alone).replace(nobody[1], "nobody")
    for first_id, second_id in zip(*(customers[:-1] for customers in twins), strict=True):
        assert written(first_id) == written(second_id)
    assert not accounts_off()


def test_a_group_is_one_statement(make_customer: MakeCustomer) -> None:
    customers = [make_customer(balance=1000) for _ in range(4)]
    wishes = [wish(customer, f"k{place}", text=f"{place}") for place, customer in enumerate(customers * 2)]
    send(wish(customers[0]))  # what is remembered between requests is read
    for customer in customers:
        send(wish(customer, to="1"))
    with CaptureQueriesContext(
        connection,
    ) as queries:
        answers = send_together(wishes)
    assert [answer.json()["balance"] for answer in answers] == [800, 900, 900, 900, 700, 800, 800, 800]
    charging = [query for query in queries.captured_queries if "UPDATE balance_account" in query["sql"]]
    assert len(charging) == 1


def test_a_customer_without_balance_is_refused_alone(make_customer: MakeCustomer) -> None:
    rich, poor = make_customer(balance=1000), make_customer(balance=250)
    answers = send_together(
        [wish(rich), wish(poor), wish(poor, text="x" * 300), wish(rich), wish(poor), wish(poor)],
    )
    assert [answer.status_code for answer in answers] == [200, 200, 402, 200, 200, 402]
    assert answers[2].json()["detail"] == "The messages cost 200 minor units, the balance is 150."
    assert [Account.objects.get(customer_id=one).balance for one in (rich, poor)] == [800, 50]


@pytest.mark.django_db(transaction=True)
def test_one_key_twice_in_a_group_charges_once(make_customer: MakeCustomer) -> None:
    customer, other = make_customer(balance=1000), make_customer(balance=1000)
    answers = send_together(
        [wish(customer, "k"), wish(other, "k"), wish(customer, "k"), wish(customer, "k", text="ho")]
    )
    assert [answer.status_code for answer in answers] == [200, 200, 200, 422]
    assert answers[2].content == answers[0].content
    assert answers[2]["Idempotent-Replayed"] == "true"
    assert [Account.objects.get(customer_id=one).balance for one in (customer, other)] == [900, 900]


@pytest.mark.django_db(transaction=True)
def test_a_key_done_before_is_replayed_beside_others(make_customer: MakeCustomer) -> None:
    customer, other = make_customer(balance=1000), make_customer(balance=1000)
    first = send(wish(customer, "k"))
    answers = send_together([wish(other), wish(customer, "k"), wish(customer)])
    assert answers[1].content == first.content
    assert [answer.json()["balance"] for answer in answers] == [900, 900, 800]


@pytest.mark.django_db(transaction=True)
def test_whose_account_is_held_delays_no_other_customer_of_its_group(make_customer: MakeCustomer) -> None:
    held, *others = (make_customer(balance=1000) for _ in range(4))

    def group() -> list[int]:
        try:
            return [answer.status_code for answer in send_together([wish(one) for one in (held, *others, held)])]
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as threads:
        with transaction.atomic():
            Account.objects.select_for_update().get(customer_id=held)
            answers = threads.submit(group)
            wait_until_blocked(1)
            assert {message.customer_id for message in Message.objects.all()} == set(others)
        assert answers.result() == [200] * 5
    assert Account.objects.get(customer_id=held).balance == 800
    assert not accounts_off()


@pytest.mark.django_db(transaction=True)
def test_whose_account_is_held_too_long_fails_alone(make_customer: MakeCustomer) -> None:
    held, once_held, *others = (make_customer(balance=1000) for _ in range(4))

    def group() -> list[Any]:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET lock_timeout = '50ms'")
            return send_together([wish(others[0]), wish(held), wish(others[1]), wish(held, "k"), wish(once_held)])
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as threads, transaction.atomic():
        Account.objects.select_for_update().get(customer_id=held)
        answers = threads.submit(group).result()
    assert [answer.status_code for answer in answers] == [200, 503, 200, 409, 200]
    assert Account.objects.get(customer_id=held).balance == 1000
    assert Message.objects.count() == 3


@pytest.mark.django_db(transaction=True)
def test_what_cannot_be_written_fails_alone(make_customer: MakeCustomer) -> None:
    customers = [make_customer(balance=1000) for _ in range(3)]
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE sms_message ADD CONSTRAINT harmless CHECK (text <> 'poison') NOT VALID")
    try:
        answers = send_together([wish(one, text=text) for text in ("hi", "poison") for one in customers[:2]])
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE sms_message DROP CONSTRAINT harmless")
    assert [answer.status_code for answer in answers] == [200, 200, 500, 500]
    assert [Account.objects.get(customer_id=one).balance for one in customers] == [900, 900, 1000]
    assert not accounts_off()


@pytest.mark.django_db(transaction=True)
def test_a_connection_that_breaks_charges_nothing_and_unserved_requests_fail(
    make_customer: MakeCustomer,
) -> None:
    held, *others = (make_customer(balance=1000) for _ in range(3))

    def group() -> list[int]:
        try:
            return [answer.status_code for answer in send_together([wish(one) for one in (others[0], held, held)])]
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as threads, transaction.atomic():
        Account.objects.select_for_update().get(customer_id=held)
        answers = threads.submit(group)
        wait_until_blocked(1)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
        assert answers.result() == [200, 503, 503]
    assert Account.objects.get(customer_id=held).balance == 1000


@pytest.mark.django_db(transaction=True)
def test_groups_of_the_same_customers_never_wait_in_a_circle(make_customer: MakeCustomer) -> None:
    customers = [make_customer(balance=100_000) for _ in range(6)]

    def groups(seed: int) -> set[int]:
        chance = random.Random(seed)
        try:
            return {
                answer.status_code
                for _ in range(10)
                for answer in send_together([wish(one) for one in chance.choices(customers, k=12)])
            }
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as threads:
        assert set().union(*threads.map(groups, range(4))) == {200}
    balances = [account.balance for account in Account.objects.all()]
    assert sum(balances) == 6 * 100_000 - 4 * 10 * 12 * 100
    for customer_id in customers:
        entries = LedgerEntry.objects.filter(customer_id=customer_id).order_by("entry")
        assert [entry.entry for entry in entries] == list(range(1, len(entries) + 1))
        balance = 0
        for entry in entries:
            balance += entry.amount
            assert entry.balance_after == balance
    assert not accounts_off()
