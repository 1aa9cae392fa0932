"""Measures how long the reporting API's queries take over very many events.

The events are generated in ClickHouse: messages of 200 customers over 300 days, each accepted, submitted and ended. The
first customer has every tenth message, and a quarter of those on one day, so that each minute of that day has some.
"""

from __future__ import annotations

import datetime as dt
import os
import statistics as figures
import time
from collections.abc import Callable, Iterator, Mapping
from uuid import UUID

from apps.devservices.demo.run import manage
from apps.reporting.ingest import snapshots
from apps.reporting.queries import stats as selectors
from apps.reporting.queries import summary
from smsgateway import config
from smsgateway.clickhouse import ClickHouse

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "smsgateway.settings")  # for the time limit of a query

RUNS = 21
DAYS = 300
TABLES = ("sms_events", "sms_minutes", "sms_days")

_MESSAGES = """
    SELECT
        reinterpretAsUUID(sipHash128(toUInt64(if(number % 10 = 0, 0, number % 200)))) AS customer_id,
        sipHash64(number) AS chance,
        {start} + if(number % 40 = 0, {dense} * 86400 + chance % 86400, chance % ({days} * 86400)) AS t,
        toDateTime(intDiv(t, 60) * 60, 'UTC') AS minute,
        reinterpretAsUUID(sipHash128(number, 7)) AS message_id,
        ['mci', 'irancell', 'rightel'][1 + sipHash64(number, 1) % 3] AS operator,
        ['gsm7', 'ucs2'][1 + sipHash64(number, 2) % 2] AS encoding,
        ['delivered', 'failed', 'undelivered'][1 + if(sipHash64(number, 3) % 10 = 0, 1 + number % 2, 0)] AS ended,
        1 + sipHash64(number, 4) % 3 AS segments,
        toInt64(t) * 1000 AS at,
        at + 50 + sipHash64(number, 5) % 1000 AS submitted,
        submitted + 1000 + sipHash64(number, 6) % 10000 AS ended_at
    FROM numbers({messages})
"""
_COLUMNS = "customer_id, minute, message_id, type, status, rank, at, operator, country, encoding, error, segments, cost"
_EVENTS = (
    "SELECT customer_id, minute, message_id, 'accepted', 'accepted', 0, fromUnixTimestamp64Milli(toInt64(at), 'UTC'),"
    " operator, 'IR', encoding, '', segments, segments * 100 FROM ({messages})",
    "SELECT customer_id, minute, message_id, 'status', 'submitted', 3,"
    " fromUnixTimestamp64Milli(toInt64(submitted), 'UTC'), operator, '', '', '', segments, 0 FROM ({messages})",
    "SELECT customer_id, minute, message_id, 'status', ended, 10, fromUnixTimestamp64Milli(toInt64(ended_at), 'UTC'),"
    " operator, '', '', if(ended = 'delivered', '', 'absent_subscriber'), segments, 0 FROM ({messages})",
)
_FIRST = "SELECT reinterpretAsUUID(sipHash128(toUInt64(0)))"


def statistics(environ: Mapping[str, str], *, events: int) -> Iterator[dict[str, object]]:
    """One figure per kind of query. Empties the tables before and afterwards."""
    loaded, _ = config.load(environ)
    database = ClickHouse(loaded.clickhouse)
    # The events span more time than they are kept by default.
    kept = {"CLICKHOUSE_RAW_KEPT_DAYS": "0", "CLICKHOUSE_MINUTE_KEPT_DAYS": "0"}
    manage("clickhouse_migrate", environ={**environ, **kept})
    _empty(database)
    day = dt.timedelta(days=1)
    today = dt.datetime.now(tz=dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    begin, dense = today - DAYS * day, today - 30 * day
    start = int(begin.timestamp())
    messages = _MESSAGES.format(start=start, dense=(dense - begin).days, days=DAYS, messages=events // 3)
    began = time.monotonic()
    for select in _EVENTS:
        database.insert_select(
            f"INSERT INTO sms_events ({_COLUMNS}) {select.format(messages=messages)}"
            " SETTINGS max_partitions_per_insert_block = 0, max_execution_time = 600"
        )
    made = time.monotonic() - began
    first_day = start // snapshots.DAY_SECONDS
    snapshots.compute_everything(first_day, first_day + DAYS, database=database, at_once=20)
    computed = time.monotonic() - began - made
    customer: UUID = database.query(_FIRST)[0][0]

    def asked(interval: selectors.Interval, since: dt.datetime, until: dt.datetime) -> Callable[[], int]:
        return lambda: len(
            selectors.stats(
                database=database, interval=interval, customer_id=customer, since=since, until=until, operator=""
            )
        )

    def summed(*group_by: str, delays: bool = False) -> Callable[[], int]:
        spec = summary.SummarySpec(since=begin, until=today, customer_id=None, group_by=group_by, delays=delays)
        return lambda: len(summary.summary(database=database, spec=spec)[0])

    questions: dict[str, Callable[[], int]] = {
        "minutes of a day of a customer": asked(selectors.MINUTE, dense, dense + day),
        "days of a year of a customer": asked(selectors.DAY, begin - 60 * day, today + 5 * day),
        "summary of all": summed(),
        "summary by operator and status": summed("operator", "status"),
        "summary by day": summed("day"),
        "summary by everything": summed(*summary.KEYS),
        "summary with delays by operator": summed("operator", delays=True),
    }
    for name, ask in questions.items():
        ask()
        took = []
        for _ in range(RUNS):
            began = time.monotonic()
            rows = ask()
            took.append((time.monotonic() - began) * 1000)
        yield {
            "bench": "statistics",
            "question": name,
            "value": round(figures.median(took), 1),
            "unit": "ms, median",
            "worst_ms": round(max(took), 1),
            "rows": rows,
            "events": events // 3 * 3,
            "made_seconds": round(made),
            "computed_seconds": round(computed),
            "cpus": os.cpu_count(),
        }
    _empty(database)


def _empty(database: ClickHouse) -> None:
    for table in TABLES:
        database.execute(f"TRUNCATE TABLE {table}")
