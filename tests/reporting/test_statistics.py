from __future__ import annotations

import datetime as dt
import itertools
import random
from collections import Counter
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.reporting.queries import intervals
from apps.reporting.queries import stats as selectors
from apps.sms import statuses
from smsgateway import ids
from smsgateway.clickhouse import ClickHouse
from tests.support.events import MORNING, accepted, message_id, refund, status, write
from tests.support.statistics import nonzero_totals, stats_of


def test_a_message_counts_in_the_minute_and_on_the_day_it_was_accepted(database: ClickHouse, customer: UUID) -> None:
    message = message_id(MORNING)
    write(database, accepted(customer, message, segments=3, cost=300))
    # Delivered two days later: it still belongs to the day it was accepted.
    write(database, status(customer, message, "delivered", after=2 * 86_400_000))

    counts = dict.fromkeys(selectors.COUNTS, 0) | {"accepted": 1, "segments": 3, "cost": 300, "delivered": 1}
    assert stats_of(database, customer) == [
        {"time": dt.datetime(2026, 3, 5, 8, 30, tzinfo=dt.UTC), "operator": "mci", **counts}
    ]
    assert stats_of(database, customer, interval=intervals.DAY) == [
        {"time": dt.date(2026, 3, 5), "operator": "mci", **counts}
    ]


@pytest.mark.parametrize("name", statuses.ORDER)
def test_every_status_is_counted_once(database: ClickHouse, customer: UUID, name: str) -> None:
    message = message_id()
    write(database, accepted(customer, message), status(customer, message, name))

    counted = name if name in statuses.FINAL else "pending"
    assert nonzero_totals(stats_of(database, customer)) == {"accepted": 1, "segments": 2, "cost": 200, counted: 1}


@pytest.mark.parametrize("order", [*itertools.permutations(["submitted", "unknown", "undelivered", "delivered"])])
def test_the_furthest_status_counts_in_whatever_order_they_come(
    database: ClickHouse, customer: UUID, order: tuple[str, ...]
) -> None:
    message = message_id()
    write(database, accepted(customer, message))
    for name in order:
        write(database, status(customer, message, name))

    assert nonzero_totals(stats_of(database, customer)) == {"accepted": 1, "segments": 2, "cost": 200, "delivered": 1}


def test_a_status_before_its_accepted_event_counts_once_that_arrives(database: ClickHouse, customer: UUID) -> None:
    message = message_id()
    write(database, status(customer, message, "failed"), refund(customer, message))
    assert stats_of(database, customer) == []

    write(database, accepted(customer, message))
    assert nonzero_totals(stats_of(database, customer)) == {
        "accepted": 1,
        "segments": 2,
        "cost": 200,
        "failed": 1,
        "refunded": 200,
    }


def test_events_written_again_change_no_number_before_or_after_a_merge(database: ClickHouse, customer: UUID) -> None:
    messages = [message_id(MORNING + dt.timedelta(seconds=20 * number)) for number in range(30)]
    made = [accepted(customer, message) for message in messages]
    made += [status(customer, message, "submitted") for message in messages]
    made += [status(customer, message, "failed") for message in messages[:7]]
    made += [refund(customer, message) for message in messages[:7]]
    write(database, *made)
    minutes, days = stats_of(database, customer), stats_of(database, customer, interval=intervals.DAY)
    assert (
        nonzero_totals(minutes)
        == nonzero_totals(days)
        == {
            "accepted": 30,
            "segments": 60,
            "cost": 6000,
            "failed": 7,
            "pending": 23,
            "refunded": 1400,
        }
    )

    for _ in range(3):
        write(database, *random.sample(made, len(made)))
    assert stats_of(database, customer) == minutes
    assert stats_of(database, customer, interval=intervals.DAY) == days

    database.execute("OPTIMIZE TABLE sms_events FINAL")
    assert stats_of(database, customer) == minutes
    [(left,)] = database.query("SELECT count() FROM sms_events WHERE customer_id = %(c)s", {"c": customer})
    assert left == len(made)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_statistics_equal_a_plain_count_of_the_messages(database: ClickHouse, data: st.DataObject) -> None:
    customer = ids.new_id()
    expected: Counter[tuple[str, str]] = Counter()
    made = []
    for operator in data.draw(st.lists(st.sampled_from(["mci", "irancell"]), max_size=12)):
        message = message_id()
        reached = data.draw(st.lists(st.sampled_from(statuses.ORDER), max_size=4))
        made += [accepted(customer, message, operator=operator)]
        made += [status(customer, message, name, attempt=attempt) for attempt, name in enumerate(reached)]
        furthest = max(reached, key=statuses.RANK.__getitem__, default=statuses.ACCEPTED)
        expected[operator, "accepted"] += 1
        expected[operator, furthest if furthest in statuses.FINAL else "pending"] += 1
    repeated = made + data.draw(st.lists(st.sampled_from(made), max_size=10) if made else st.just([]))
    shuffled = data.draw(st.permutations(repeated))
    cut = data.draw(st.integers(0, len(shuffled)))
    for batch in (shuffled[:cut], shuffled[cut:]):
        if batch:
            write(database, *batch)

    found: Counter[tuple[str, str]] = Counter()
    for row in stats_of(database, customer, interval=intervals.DAY):
        for name in ("accepted", "pending", *statuses.FINAL):
            found[row["operator"], name] += row[name]
    assert +found == expected


def test_the_range_is_half_open_and_rows_are_sorted(database: ClickHouse, customer: UUID) -> None:
    start = dt.datetime(2026, 3, 5, 8, 0, tzinfo=dt.UTC)
    for minute in (3, 1, 0, 2):
        for operator in ("mci", "irancell"):
            when = start + dt.timedelta(minutes=minute)
            write(database, accepted(customer, message_id(when), operator=operator))

    rows = stats_of(database, customer, since=start + dt.timedelta(minutes=1), until=start + dt.timedelta(minutes=3))

    assert [(row["time"].minute, row["operator"]) for row in rows] == [
        (1, "irancell"),
        (1, "mci"),
        (2, "irancell"),
        (2, "mci"),
    ]


def test_an_interval_belongs_to_the_range_that_holds_its_start(database: ClickHouse, customer: UUID) -> None:
    minute = dt.datetime(2026, 3, 5, 8, 30, tzinfo=dt.UTC)
    write(database, accepted(customer, message_id(minute)))
    second = dt.timedelta(seconds=1)

    assert stats_of(database, customer, since=minute, until=minute + second)
    assert not stats_of(database, customer, since=minute + second, until=minute + 59 * second)


def test_one_operator_can_be_asked_for(database: ClickHouse, customer: UUID) -> None:
    write(database, accepted(customer, message_id(), operator="mci"))
    write(database, accepted(customer, message_id(), operator="irancell"))

    assert [row["operator"] for row in stats_of(database, customer, operator="irancell")] == ["irancell"]


def test_customers_do_not_see_each_other(database: ClickHouse, customer: UUID) -> None:
    write(database, accepted(ids.new_id(), message_id()))

    assert stats_of(database, customer) == []


@pytest.mark.parametrize(
    ("view", "time", "column"),
    [
        ("stats_minute", "time", "minute"),
        ("stats_minute_groups", "time", "minute"),
        ("stats_daily", "day", "day"),
        ("stats_daily_groups", "day", "day"),
        ("sms_messages", "minute", "minute"),
    ],
)
def test_a_query_reads_only_the_customers_rows(
    database: ClickHouse, customer: UUID, view: str, time: str, column: str
) -> None:
    write(database, accepted(customer, message_id()))

    plan = "\n".join(
        line
        for (line,) in database.query(
            f"EXPLAIN indexes = 1 SELECT * FROM {view}"
            f" WHERE customer_id = %(customer)s AND {time} >= toDateTime(%(since)s, 'UTC')",
            {"customer": customer, "since": int(MORNING.timestamp())},
        )
    )

    condition = plan.partition("PrimaryKey")[2].partition("Condition:")[2].partition("\n")[0]
    assert str(customer) in condition
    assert column in condition
