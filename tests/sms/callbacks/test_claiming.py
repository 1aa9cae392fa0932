"""Which rows a worker takes, for how long, and that they are its own."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, connections
from django.db.models import F
from django.db.models.functions import Now

from apps.customers.callback_endpoints import endpoint_set
from apps.sms.callbacks import rows
from apps.sms.callbacks.enqueue import USUAL, callback_replay
from apps.sms.callbacks.lanes import Lane, Turn
from apps.sms.callbacks.rows import Claimed, Outcome
from apps.sms.models import Callback
from smsgateway import ids, json
from tests.support.callbacks import endpoint_of, let_time_pass
from tests.support.customers import MakeCustomer

URL = "https://shop.example/sms"
NOW = dt.datetime.now(tz=dt.UTC)


def pending(customer_id: UUID, count: int = 1, **changes: Any) -> list[Callback]:
    """So many callbacks that are due, of messages that need not exist."""
    fields = {"event": "delivered", "at": NOW, "next_at": NOW} | changes
    return Callback.objects.bulk_create(
        Callback(customer_id=customer_id, message_id=ids.new_id(), **fields) for _ in range(count)
    )


def lanes() -> list[Lane]:
    """The lanes that have something due."""
    return [due.lane for due in rows.lanes(after=rows.START, most=100).due]


def claim(places: int = 100) -> list[Claimed]:
    """So many rows of each lane."""
    return rows.claim(turns=[Turn(lane, places) for lane in lanes()], lease_seconds=60)


def outcome(row: Claimed, **changes: Any) -> Outcome:
    told: dict[str, Any] = {"status": "delivered", "at": NOW, "url": URL, "error": "", "http_status": 200} | changes
    return Outcome(id=row.id, lease=row.lease, **told)


def test_a_claimed_row_is_nobody_elses_until_its_lease_ends(make_customer: MakeCustomer) -> None:
    [made] = pending(make_customer())
    [claimed] = claim()
    assert (claimed.id, claimed.attempts) == (made.id, 0)
    assert claim() == []
    let_time_pass()
    assert [row.id for row in claim()] == [made.id]


def test_what_is_not_due_or_has_ended_is_not_claimed(make_customer: MakeCustomer) -> None:
    customer_id = make_customer()
    pending(customer_id, next_at=NOW + dt.timedelta(hours=1))
    pending(customer_id, status="delivered")
    pending(customer_id, status="failed")
    assert claim() == []


def test_the_target_is_the_messages_own_else_the_enabled_endpoints(make_customer: MakeCustomer) -> None:
    customer_id = make_customer()
    pending(customer_id)
    pending(customer_id, url="https://own.example/")
    assert {row.target for row in claim()} == {None, "https://own.example/"}
    endpoint_of(customer_id, URL)
    let_time_pass()
    assert {row.target for row in claim()} == {URL, "https://own.example/"}
    endpoint_set(customer_id=customer_id, url=URL, statuses=USUAL, enabled=False)
    let_time_pass()
    assert {row.target for row in claim()} == {None, "https://own.example/"}


def test_a_lane_gives_no_more_than_it_is_asked_for(make_customer: MakeCustomer) -> None:
    many, few = make_customer(), make_customer()
    pending(many, 50)
    pending(many, 50, url="https://own.example/a", host="https://own.example")
    pending(few, 2)
    taken = Counter(row.lane for row in claim(places=5))
    assert taken == {Lane(many, ""): 5, Lane(many, "https://own.example"): 5, Lane(few, ""): 2}


def test_of_a_lane_the_longest_due_goes_first(make_customer: MakeCustomer) -> None:
    customer_id = make_customer()
    made = [pending(customer_id, next_at=NOW - dt.timedelta(minutes=minutes))[0].id for minutes in (1, 3, 2)]
    claimed = {row.id for row in claim(places=2)}
    assert claimed == {made[1], made[2]}


def test_a_look_goes_on_where_the_one_before_ended(make_customer: MakeCustomer) -> None:
    expected = []
    for customer_id in sorted(make_customer() for _ in range(3)):
        for host in ("", "https://a.example", "https://b.example"):
            pending(customer_id, 2, url=host and f"{host}/x", host=host)
            expected.append(Lane(customer_id, host))
    seen, after = [], rows.START
    for _ in range(5):
        found = rows.lanes(after=after, most=2)
        seen += [due.lane for due in found.due]
        after = found.next_start
    assert seen == expected
    assert after == rows.START


@pytest.mark.django_db(transaction=True)
def test_processes_that_claim_at_once_share(make_customer: MakeCustomer) -> None:
    for _ in range(5):
        pending(make_customer(), 40)

    def run() -> list[UUID]:
        try:
            return [row.id for _ in range(5) for row in claim(places=4)]
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as threads:
        taken = [ended.result() for ended in [threads.submit(run) for _ in range(4)]]
    claimed = [id for ids_taken in taken for id in ids_taken]
    assert len(claimed) == len(set(claimed))
    rest = 0
    while more := claim(places=100):
        rest += len(more)
    assert len(claimed) + rest == 200


def test_what_came_of_a_row_is_recorded(make_customer: MakeCustomer) -> None:
    pending(make_customer(), 2)
    delivered, failing = claim()
    rows.finish(
        [outcome(delivered), outcome(failing, status="pending", error="timeout", http_status=None, delay=3600.0)]
    )
    found = Callback.objects.get(id=delivered.id)
    assert (found.status, found.attempts, found.next_at) == ("delivered", 1, None)
    assert (found.last_at, found.last_url, found.last_http_status, found.last_error) == (NOW, URL, 200, "")
    found = Callback.objects.get(id=failing.id)
    assert (found.status, found.attempts, found.last_error, found.last_http_status) == ("pending", 1, "timeout", None)
    hour = Callback.objects.filter(
        id=failing.id, next_at__gt=Now() + dt.timedelta(minutes=59), next_at__lt=Now() + dt.timedelta(minutes=61)
    )
    assert hour.exists()


def test_who_took_longer_than_its_lease_changes_nothing(make_customer: MakeCustomer) -> None:
    pending(make_customer())
    [late] = claim()
    let_time_pass()
    [second] = claim()
    rows.finish([outcome(late, status="failed")])
    rows.release([late])
    assert Callback.objects.get().next_at == second.lease
    rows.finish([outcome(second)])
    rows.finish([outcome(second, status="failed")])
    assert (Callback.objects.get().status, Callback.objects.get().attempts) == ("delivered", 1)


def test_a_row_that_is_sent_while_it_is_asked_for_again_is_sent_again(make_customer: MakeCustomer) -> None:
    pending(make_customer(), url=URL)
    [first] = claim()
    callback_replay(callback=Callback.objects.get())
    rows.finish([outcome(first, status="failed")])
    assert [row.id for row in claim()] == [first.id]


def test_a_row_that_is_given_back_is_due_at_once_and_untried(make_customer: MakeCustomer) -> None:
    pending(make_customer())
    rows.release(claim())
    [row] = claim()
    assert row.attempts == 0


def test_how_much_waits_and_since_when(make_customer: MakeCustomer) -> None:
    assert rows.waiting() == (0, 0.0)
    customer_id = make_customer()
    pending(customer_id, 2, next_at=NOW - dt.timedelta(hours=1))
    pending(customer_id, status="failed", next_at=None)
    count, age = rows.waiting()
    assert count == 2
    assert 3600 <= age < 7200


def test_old_callbacks_that_have_ended_are_purged(make_customer: MakeCustomer) -> None:
    customer_id = make_customer()
    kept = {pending(customer_id)[0].id}
    for status in ("delivered", "failed"):
        pending(customer_id, status=status)
    before = ids.moment(Callback.objects.values_list("id", flat=True).order_by("id").reverse()[0]) + dt.timedelta(
        milliseconds=1
    )
    later = UUID(int=ids.lowest_id(before).int + 1)
    Callback.objects.create(id=later, customer_id=customer_id, event="test", at=NOW, status="delivered")
    assert rows.purge(before=before) == 2
    assert set(Callback.objects.values_list("id", flat=True)) == kept | {later}


def test_a_claim_reads_the_index_of_what_is_pending_alone(make_customer: MakeCustomer) -> None:
    """What was sent long ago, or waits for its hour, is not read, however much it is."""
    customer_id = make_customer()
    pending(customer_id, 5000, status="delivered")
    pending(customer_id, 5000, next_at=NOW + dt.timedelta(days=1))
    pending(customer_id, 3)
    Callback.objects.update(attempts=F("attempts"))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE sms_callback")
        start = {"customer_id": rows.START.customer_id, "host": "", "most": 100}
        turns = json.encode([{"customer_id": customer_id, "host": "", "places": 10}]).decode()
        for statement, parameters in ((rows._LANES, start), (rows._CLAIM, {"turns": turns, "lease": 60})):
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT TEXT) {statement}", parameters)
            plan = "\n".join(row[0] for row in cursor.fetchall())
            assert "Seq Scan on sms_callback" not in plan
            assert "sms_callback_lane" in plan
