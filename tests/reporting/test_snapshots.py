"""Snapshots of minutes and days: which of them counts, and what they hold beyond the API."""

from __future__ import annotations

import datetime as dt
import itertools
import random
import threading
from uuid import UUID

import msgspec
import pytest
from django.conf import settings

from apps.reporting.ingest import rows, snapshots
from apps.sms import events
from smsgateway import ids
from smsgateway.clickhouse import ClickHouse
from tests.support.events import MORNING, accepted, decoder, message_id, refund, status, write
from tests.support.statistics import nonzero_totals, stats_of

MINUTE = int(MORNING.timestamp()) // 60 * 60


class Late(ClickHouse):
    """Computes a snapshot at once, and inserts it only later, like another process that was held up."""

    def __init__(self) -> None:
        super().__init__(settings.CONFIG.clickhouse)
        self.held: list[str] = []

    def insert_select(self, sql: str, parameters: object = None) -> None:
        target, _, select = sql.partition("SELECT")
        table = f"held_{ids.to_text(ids.new_id()).lower()}"
        self.execute(f"CREATE TABLE {table} ENGINE = Memory AS SELECT {select}")
        self.held.append(f"{target} SELECT * FROM {table}")

    def let_go(self) -> None:
        while self.held:
            statement = self.held.pop(0)
            super().insert_select(statement)
            self.execute(f"DROP TABLE {statement.rpartition(' ')[2]}")


def test_a_snapshot_that_comes_late_counts_less_than_one_that_knows_more(database: ClickHouse, customer: UUID) -> None:
    first, second = message_id(), message_id()
    late = Late()
    write(database, accepted(customer, first))
    snapshots.compute_minutes({(customer, MINUTE)}, database=late)
    snapshots.compute_days({snapshots.day_of((customer, MINUTE))}, database=late)
    write(database, status(customer, first, "delivered"), accepted(customer, second, operator="irancell"))
    known = stats_of(database, customer)

    late.let_go()
    late.close()

    assert stats_of(database, customer) == known
    database.execute("OPTIMIZE TABLE sms_minutes FINAL")
    assert stats_of(database, customer) == known
    assert nonzero_totals(known) == {"accepted": 2, "segments": 4, "cost": 400, "delivered": 1, "pending": 1}


def test_a_snapshot_made_after_raw_events_expired_does_not_replace_the_whole_one(
    database: ClickHouse, customer: UUID
) -> None:
    first, second = message_id(), message_id()
    write(database, accepted(customer, first), accepted(customer, second), status(customer, first, "delivered"))
    known = stats_of(database, customer)
    database.execute("DELETE FROM sms_events WHERE message_id = %(id)s", {"id": first})

    write(database, accepted(customer, second))

    assert stats_of(database, customer) == known


def test_the_order_of_events_and_snapshots_does_not_change_the_result(database: ClickHouse, customer: UUID) -> None:
    message = message_id()
    made: list[rows.ReportedEvent] = [
        accepted(customer, message),
        status(customer, message, "submitted"),
        # Submitted once more after a hard kill: the same event with a later time.
        status(customer, message, "submitted", after=3000),
        status(customer, message, "failed", after=4000),
        refund(customer, message),
    ]
    groups = set()
    for order in itertools.islice(itertools.permutations(made), 0, 120, 7):
        own = ids.new_id()
        for event in order:
            write(database, msgspec.structs.replace(event, customer_id=ids.to_text(own)))
        [found] = database.query(
            "SELECT status, messages, cost, refunded, submit_times FROM stats_minute_groups WHERE customer_id = %(c)s",
            {"c": own},
        )
        groups.add(str(found))
    assert groups == {str(("failed", 1, 200, 200, {bucket(3000): 1}))}


def test_copies_that_compute_the_same_minutes_at_once_agree_with_a_plain_count(
    database: ClickHouse, customer: UUID
) -> None:
    messages = [message_id() for _ in range(60)]
    made = [accepted(customer, message) for message in messages]
    made += [status(customer, message, random.choice(["submitted", "delivered", "failed"])) for message in messages]
    random.shuffle(made)

    def copy(part: list[rows.ReportedEvent]) -> None:
        for event in part:
            write(database, event)

    copies = [threading.Thread(target=copy, args=[made[number::4] + made[:5]]) for number in range(4)]
    for thread in copies:
        thread.start()
    for thread in copies:
        thread.join()

    [counted] = database.query(
        "SELECT count(), countIf(status = 'delivered'), countIf(status = 'failed') FROM sms_messages"
        " WHERE customer_id = %(c)s",
        {"c": customer},
    )
    total = nonzero_totals(stats_of(database, customer))
    assert (total["accepted"], total.get("delivered", 0), total.get("failed", 0)) == counted
    assert counted[0] == 60


def bucket(milliseconds: int) -> int:
    return next(number for number in itertools.count() if 2 ** ((number + 1) / 4) - 1 > milliseconds)


@pytest.mark.parametrize("milliseconds", [0, 1, 3, 60, 1000, 3_600_000])
def test_times_from_accepted_to_submitted_and_on_to_delivered_are_counted_in_buckets(
    database: ClickHouse, customer: UUID, milliseconds: int
) -> None:
    message = message_id()
    write(
        database,
        accepted(customer, message),
        status(customer, message, "submitted", after=milliseconds),
        status(customer, message, "delivered", after=3 * milliseconds),
    )

    expected = ({bucket(milliseconds): 1}, {bucket(2 * milliseconds): 1})
    for view in ("stats_minute", "stats_minute_groups", "stats_daily", "stats_daily_groups"):
        found = database.query(
            f"SELECT submit_times, delivery_times FROM {view} WHERE customer_id = %(c)s", {"c": customer}
        )
        assert found == [expected], view


def test_a_scheduled_messages_submit_time_counts_from_when_it_is_due(database: ClickHouse, customer: UUID) -> None:
    message = message_id()
    due_at = ids.milliseconds(message) + 7_200_000
    write(
        database,
        msgspec.structs.replace(accepted(customer, message), due_at=due_at),
        status(customer, message, "submitted", after=7_200_000 + 500),
    )

    query = "SELECT submit_times FROM stats_minute_groups WHERE customer_id = %(c)s"
    assert database.query(query, {"c": customer}) == [({bucket(500): 1},)]


def test_groups_have_country_encoding_and_error_of_the_current_status_only(
    database: ClickHouse, customer: UUID
) -> None:
    message = message_id()
    write(database, accepted(customer, message))
    failed = msgspec.structs.replace(status(customer, message, "failed"), error="absent_subscriber")
    write(database, failed, refund(customer, message, amount=150))

    for view, time in (("stats_minute_groups", "time"), ("stats_daily_groups", "day")):
        found = database.query(
            f"SELECT toString({time}), operator, country, encoding, status, error, messages, segments, cost, refunded"
            f" FROM {view} WHERE customer_id = %(c)s",
            {"c": customer},
        )
        when = "2026-03-05 08:30:00" if time == "time" else "2026-03-05"
        assert found == [(when, "mci", "IR", "ucs2", "failed", "absent_subscriber", 1, 2, 200, 150)]


def test_sms_messages_has_the_times_and_ids_of_a_message(database: ClickHouse, customer: UUID) -> None:
    message = message_id()
    submitted = msgspec.structs.replace(status(customer, message, "submitted"), operator_message_id="op-1")
    write(
        database, accepted(customer, message), submitted, status(customer, message, "delivered", after=9000, attempt=3)
    )

    [found] = database.query(
        "SELECT message_id, status, last_operator, operator_message_id, attempts, currency, accepted_at, due_at,"
        " submitted_at, delivered_at, status_at FROM sms_messages WHERE customer_id = %(c)s",
        {"c": customer},
    )
    at = ids.moment(message)
    second = dt.timedelta(seconds=1)
    times = (at, None, at + second, at + 9 * second, at + 9 * second)
    assert found == (message, "delivered", "irancell", "op-1", 3, "IRR", *times)


def test_everything_can_be_computed_again(database: ClickHouse, customer: UUID) -> None:
    message = message_id(MORNING + dt.timedelta(days=400))
    event = accepted(customer, message)
    lines = [rows.read(events.encode(event), decode=decoder(event))]
    database.insert(rows.INSERT, rows.columns(lines))
    day = ids.milliseconds(message) // 86_400_000

    snapshots.compute_everything(day - 1, day + 1, database=database, at_once=2)

    query = "SELECT sum(accepted) FROM stats_daily WHERE customer_id = %(c)s"
    assert database.query(query, {"c": customer}) == [(1,)]
