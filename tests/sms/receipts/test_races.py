"""A receipt and its submit at the same moment, and two receipts of one message: none is lost, none counts twice."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest
from django.db import connection, connections

from apps.sms.models import OutboxEntry, WaitingReceipt
from apps.sms.receipts import matching as receipts
from apps.sms.receipts.matching import Outcome, receipts_record
from apps.sms.settlement import service as settlement
from tests.support.customers import MakeCustomer
from tests.support.receipts import accept, balance, receive, said, settle_outbox, status_of, submit

pytestmark = pytest.mark.django_db(transaction=True)
WAIT_SECONDS = 60.0


def in_thread(threads: ThreadPoolExecutor, work: Callable[[], Any]) -> Future[Any]:
    def run() -> Any:
        try:
            return work()
        finally:
            connections.close_all()

    return threads.submit(run)


def hold(patched: pytest.MonkeyPatch, module: Any, name: str) -> tuple[Event, Event]:
    """Stop the first call of `module.name` when it has done its work; (it is there, let it go on)."""
    original = getattr(module, name)
    there, go_on = Event(), Event()

    def held(*arguments: Any, **named: Any) -> Any:
        result = original(*arguments, **named)
        if not there.is_set():
            there.set()
            assert go_on.wait(WAIT_SECONDS)
        return result

    patched.setattr(module, name, held)
    return there, go_on


def test_a_receipt_that_looked_before_the_submit_committed_is_matched(
    make_customer: MakeCustomer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The receipt looks and finds nothing; the submit is recorded, looks and finds nothing; the receipt commits."""
    [message_id] = accept(make_customer())
    there, go_on = hold(monkeypatch, receipts, "_record")
    with ThreadPoolExecutor(1) as threads:
        receipt = in_thread(threads, lambda: receipts_record(batch=[said("5")]))
        assert there.wait(WAIT_SECONDS)
        submit(message_id, "5")
        assert not WaitingReceipt.objects.exists()  # not committed, so the submit cannot have seen it
        go_on.set()
        receipt.result()
    assert not WaitingReceipt.objects.exists()
    settle_outbox()
    assert status_of(message_id) == "delivered"


def test_a_submit_that_is_written_when_the_receipt_looks_is_matched(
    make_customer: MakeCustomer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The submit is written and not committed; the receipt looks twice and finds nothing; the submit commits."""
    [message_id] = accept(make_customer())
    there, go_on = hold(monkeypatch, settlement, "_settle")
    with ThreadPoolExecutor(1) as threads:
        submitting = in_thread(threads, lambda: submit(message_id, "5"))
        assert there.wait(WAIT_SECONDS)
        assert receipts_record(batch=[said("5")]) == ["waiting"]
        assert WaitingReceipt.objects.count() == 1
        go_on.set()
        submitting.result()
    assert not WaitingReceipt.objects.exists()
    settle_outbox()
    assert status_of(message_id) == "delivered"


def test_both_that_see_each_other_match_once(make_customer: MakeCustomer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The receipt is stored and the submit recorded before either looks for the other."""
    [message_id] = accept(make_customer())
    there, go_on = hold(monkeypatch, settlement, "_settle")
    with ThreadPoolExecutor(2) as threads:
        submitting = in_thread(threads, lambda: submit(message_id, "5"))
        assert there.wait(WAIT_SECONDS)
        stored, both_go_on = hold(monkeypatch, receipts, "_record")
        receipt = in_thread(threads, lambda: receipts_record(batch=[said("5")]))
        assert stored.wait(WAIT_SECONDS)
        both_go_on.set()
        go_on.set()
        submitting.result()
        receipt.result()
    assert not WaitingReceipt.objects.exists()
    assert OutboxEntry.objects.filter(payload__isnull=False).count() == 1


def test_receipts_of_the_last_two_parts_at_once_deliver_the_message(
    make_customer: MakeCustomer, monkeypatch: pytest.MonkeyPatch
) -> None:
    [message_id] = accept(make_customer())
    submit(message_id, "1", "2")
    there, go_on = hold(monkeypatch, receipts, "_record")
    with ThreadPoolExecutor(2) as threads:
        first = in_thread(threads, lambda: receipts_record(batch=[said("1")]))
        assert there.wait(WAIT_SECONDS)
        second = in_thread(threads, lambda: receipts_record(batch=[said("2")]))
        wait_for_a_lock(second)
        go_on.set()
        outcomes: list[Outcome] = first.result() + second.result()
    assert outcomes == ["part", "matched"]
    settle_outbox()
    assert status_of(message_id) == "delivered"


def wait_for_a_lock(work: Future[Any]) -> None:
    """Return when a session waits for a row, or the work is done without."""
    while not work.done():
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone()[0]:
                return


def test_many_receipts_and_submits_at_once_all_count(make_customer: MakeCustomer) -> None:
    customer_id = make_customer(balance=20_000)
    message_ids = accept(customer_id, 100)
    with ThreadPoolExecutor(4) as threads:
        running = [
            work
            for number, message_id in enumerate(message_ids)
            for work in (
                in_thread(threads, lambda n=number: receipts_record(batch=[said(f"{n}", "undelivered")] * 2)),
                in_thread(threads, lambda n=number, m=message_id: submit(m, f"{n}")),
            )
        ]
        for work in running:
            work.result()
    receive()
    assert {status_of(message_id) for message_id in message_ids} == {"undelivered"}
    assert balance(customer_id) == 20_000
    assert not WaitingReceipt.objects.exists()
