"""Each customer's refund policy: which failures give the money back."""

from __future__ import annotations

import datetime as dt
import json
from io import StringIO
from uuid import UUID

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from apps.balance.models import LedgerEntry
from apps.balance.selectors import accounts_off
from apps.customers.models import Customer, RefundOn
from apps.customers.services import customer_refund_policy
from apps.sms import statuses
from apps.sms.accept.service import messages_accept
from apps.sms.models import Message
from apps.sms.settlement.cancel import message_cancel
from apps.sms.settlement.service import statuses_settle
from smsgateway import ids
from tests.support.customers import MakeCustomer
from tests.support.receipts import DRAFT, accept, balance, changed, status_of

FAILURES = sorted(statuses.REFUNDABLE)


def test_the_choices_are_the_failures_that_settlement_knows() -> None:
    assert sorted(RefundOn.values) == FAILURES


def test_a_new_customer_is_refunded_for_every_failure(make_customer: MakeCustomer) -> None:
    assert sorted(Customer.objects.get(id=make_customer()).refund_on) == FAILURES


@pytest.mark.parametrize("chosen", [[], ["failed"], ["undelivered", "rejected"]])
def test_only_the_chosen_failures_give_money_back(make_customer: MakeCustomer, chosen: list[str]) -> None:
    customer_id = make_customer(balance=1000)
    customer_refund_policy(customer_id=customer_id, refund_on=chosen)
    message_ids = accept(customer_id, len(FAILURES))
    batch = [changed(message_id, status) for message_id, status in zip(message_ids, FAILURES, strict=True)]
    for _ in range(2):
        statuses_settle(batch=batch)
    assert [status_of(message_id) for message_id in message_ids] == FAILURES
    assert balance(customer_id) == 600 + 100 * len(chosen)
    assert LedgerEntry.objects.filter(customer_id=customer_id, kind="refund").count() == len(chosen)


def test_a_second_failure_that_is_chosen_refunds_after_one_that_is_not(make_customer: MakeCustomer) -> None:
    customer_id = make_customer(balance=1000)
    customer_refund_policy(customer_id=customer_id, refund_on=["undelivered"])
    [message_id] = accept(customer_id)
    for status in ("expired", "undelivered", "undelivered", "failed"):
        statuses_settle(batch=[changed(message_id, status)])
    assert balance(customer_id) == 1000


def test_customers_of_one_batch_have_each_their_own_policy(make_customer: MakeCustomer) -> None:
    customers = [make_customer(balance=1000) for _ in range(4)]
    for customer_id in customers[:2]:
        customer_refund_policy(customer_id=customer_id, refund_on=["failed"])
    batch = [changed(message_id, "expired") for customer_id in customers for message_id in accept(customer_id, 3)]
    assert statuses_settle(batch=batch[::-1]).refunded == 6
    assert [balance(customer_id) for customer_id in customers] == [700, 700, 1000, 1000]
    assert not accounts_off()


def test_what_is_canceled_is_refunded_whatever_the_policy(make_customer: MakeCustomer) -> None:
    customer_id = make_customer(balance=1000)
    customer_refund_policy(customer_id=customer_id, refund_on=[])
    draft = DRAFT._replace(send_at=int((dt.datetime.now(tz=dt.UTC) + dt.timedelta(hours=1)).timestamp() * 1000))
    accepted = messages_accept(customer_id=customer_id, drafts=[draft], config=settings.CONFIG)
    message_cancel(message=Message.objects.get(id=accepted.message_ids[0]))
    assert balance(customer_id) == 1000


@pytest.mark.parametrize(
    ("refund_on", "status", "locks"),
    [(FAILURES, "delivered", False), ([], "failed", False), (FAILURES, "failed", True)],
)
def test_accounts_are_locked_only_where_something_is_refunded(
    make_customer: MakeCustomer, refund_on: list[str], status: str, locks: bool
) -> None:
    customer_id: UUID = make_customer(balance=1000)
    customer_refund_policy(customer_id=customer_id, refund_on=refund_on)
    [message_id] = accept(customer_id)
    with CaptureQueriesContext(connection) as queries:
        statuses_settle(batch=[changed(message_id, status)])
    assert any("FOR UPDATE" in query["sql"] for query in queries) is locks


def test_the_policy_is_set_by_a_command(make_customer: MakeCustomer) -> None:
    customer_id = ids.to_text(make_customer())
    for given, stored in (("failed,expired", ["expired", "failed"]), ("none", []), ("all", FAILURES)):
        told = StringIO()
        call_command("refund_policy", customer_id, on=given, stdout=told)
        assert json.loads(told.getvalue()) == {"customer_id": customer_id, "refund_on": stored}
        assert Customer.objects.get().refund_on == stored
    with pytest.raises(CommandError, match="'lost' is not a valid choice"):
        call_command("refund_policy", customer_id, on="lost")
    with pytest.raises(CommandError, match="no such customer"):
        call_command("refund_policy", ids.to_text(ids.new_id()), on="all")
    with pytest.raises(CommandError, match="ULID"):
        call_command("refund_policy", "42", on="all")


def test_the_database_takes_no_other_failure(make_customer: MakeCustomer) -> None:
    customer_id = make_customer()
    with pytest.raises(IntegrityError, match="customer_refunds_known"), transaction.atomic():
        Customer.objects.filter(id=customer_id).update(refund_on=["delivered"])
