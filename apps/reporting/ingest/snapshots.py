"""Computes the statistics of customers' minutes and days from the raw events, and inserts them as whole rows.

Nothing is added up as events come in. A row is a snapshot of all events known for its minute, and among a minute's rows
the one with the greatest version counts. The version is the sum, over all distinct events of the minute's messages, of
1 + the milliseconds from the minute to the event. A new event makes it greater, a repeated event does not change it,
and neither do merges. So the snapshot that knows all events has the greatest version, no matter in which order and by
how many processes snapshots are inserted or repeated. A day's row is made from its minutes' rows in the same way; its
version is the sum of theirs.

A process that inserts events computes the snapshots of their minutes afterwards, then those of their days. So the last
process to insert an event of a minute reads all of that minute's events.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator
from typing import Final
from uuid import UUID

from smsgateway.clickhouse import ClickHouse

Minute = tuple[UUID, int]
"""A customer, and a minute in seconds since 1970."""
Day = tuple[UUID, int]
"""A customer, and a day as the number of days since 1970-01-01, UTC."""

# Minutes (or days) per statement. Limits its text and the memory it takes in ClickHouse.
KEYS: Final = 500

DAY_SECONDS: Final = 86_400

_COLUMNS: Final = ("operator", "country", "encoding", "status", "error", "messages", "segments", "cost", "refunded")
_MAPS: Final = ("submit_times", "delivery_times")
_GROUPS: Final = (*_COLUMNS, *_MAPS)


def _bucket(since: str, until: str) -> str:
    """SQL for the bucket of the milliseconds between two times; a negative difference counts as zero."""
    milliseconds = f"toUnixTimestamp64Milli({until}) - toUnixTimestamp64Milli({since})"
    return f"ifNull(toUInt8(4 * log2(1 + greatest(0, {milliseconds}))), 0)"


# For a scheduled message the time counts from when it is due.
_SUBMIT: Final = _bucket("greatest(accepted_at, ifNull(due_at, accepted_at))", "submitted_at")
_DELIVERY: Final = _bucket("submitted_at", "delivered_at")

_MINUTES: Final = f"""
    INSERT INTO sms_minutes (customer_id, minute, version, {", ".join(f"groups.{name}" for name in _GROUPS)})
    SELECT customer_id, minute, sum(one.version), {", ".join(f"groupArray(one.{name})" for name in _GROUPS)}
    FROM
    (
        SELECT
            customer_id, minute, operator, country, encoding, status, error,
            sum(message.version) AS version,
            count() AS messages,
            sum(message.segments) AS segments,
            sum(message.cost) AS cost,
            sum(message.refunded) AS refunded,
            sumMapIf(map({_SUBMIT}, 1), submitted_at IS NOT NULL) AS submit_times,
            sumMapIf(map({_DELIVERY}, 1), submitted_at IS NOT NULL AND delivered_at IS NOT NULL) AS delivery_times
        FROM sms_messages AS message
        WHERE %(keys)s AND minute BETWEEN %(first)s AND %(last)s
        GROUP BY customer_id, minute, operator, country, encoding, status, error
    ) AS one
    GROUP BY customer_id, minute
"""
_DAYS: Final = f"""
    INSERT INTO sms_days (customer_id, day, version, {", ".join(f"groups.{name}" for name in _GROUPS)})
    SELECT customer_id, day, sum(one.version), {", ".join(f"groupArray(one.{name})" for name in _GROUPS)}
    FROM
    (
        SELECT
            customer_id, toDate(minute) AS day,
            group.operator AS operator, group.country AS country, group.encoding AS encoding,
            group.status AS status, group.error AS error,
            sum(if(number = 1, sms_minutes.version, 0)) AS version,
            sum(group.messages) AS messages,
            sum(group.segments) AS segments,
            sum(group.cost) AS cost,
            sum(group.refunded) AS refunded,
            sumMap(group.submit_times) AS submit_times,
            sumMap(group.delivery_times) AS delivery_times
        FROM sms_minutes FINAL
        ARRAY JOIN groups AS group, arrayEnumerate(groups.operator) AS number
        WHERE %(keys)s AND minute BETWEEN %(first)s AND %(last)s
        GROUP BY customer_id, day, operator, country, encoding, status, error
    ) AS one
    GROUP BY customer_id, day
    SETTINGS do_not_merge_across_partitions_select_final = 1
"""


def compute_minutes(minutes: Collection[Minute], *, database: ClickHouse) -> None:
    """Insert the current snapshots of these minutes. Safe to repeat. Raises ClickHouseError."""
    for chunk in _chunks(minutes):
        seconds = [second for _, second in chunk]
        _insert(_MINUTES, _among("minute", chunk), min(seconds), max(seconds), database=database)


def compute_days(days: Collection[Day], *, database: ClickHouse) -> None:
    """Insert the current snapshots of these days, from their minutes'. Safe to repeat. Raises ClickHouseError."""
    for chunk in _chunks(days):
        first, last = min(day for _, day in chunk) * DAY_SECONDS, (max(day for _, day in chunk) + 1) * DAY_SECONDS - 1
        _insert(_DAYS, _among("toDate(minute)", chunk), first, last, database=database)


def compute_everything(first_day: int, last_day: int, *, database: ClickHouse, at_once: int = 1) -> None:
    """Insert the snapshots of all customers for these days (since 1970-01-01) and their minutes.

    For events that did not come through ingest, or after a change of what a snapshot holds. One statement computes
    `at_once` days; its memory grows with them. Raises ClickHouseError.
    """
    for day in range(first_day, last_day + 1, at_once):
        first, last = day * DAY_SECONDS, (min(day + at_once, last_day + 1)) * DAY_SECONDS - 1
        for statement in (_MINUTES, _DAYS):
            _insert(statement, "true", first, last, database=database)


def day_of(minute: Minute) -> Day:
    """The day that a minute belongs to."""
    customer, second = minute
    return customer, second // DAY_SECONDS


def _chunks(keys: Collection[tuple[UUID, int]]) -> Iterator[list[tuple[UUID, int]]]:
    """The keys in chunks, in the tables' order, so that neighbours are read together."""
    ordered = iter(sorted(keys, key=lambda key: (key[0].int, key[1])))
    while chunk := list(itertools.islice(ordered, KEYS)):
        yield chunk


def _among(column: str, keys: list[tuple[UUID, int]]) -> str:
    listed = ", ".join(f"('{customer}', {number})" for customer, number in keys)
    return f"(customer_id, {column}) IN ({listed})"


def _insert(statement: str, keys: str, first: int, last: int, *, database: ClickHouse) -> None:
    database.insert_select(statement % {"keys": keys, "first": first, "last": last})
