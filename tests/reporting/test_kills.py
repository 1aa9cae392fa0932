"""kill -9 of the bridge at random moments, and a full replay, against a count made straight from PostgreSQL.

INGEST_KILLS says how often it is killed (for 30: --timeout=0), INGEST_KILLS_MESSAGES how many messages each time; all
their events together have to find room in the embedded Kafka, 5 MiB a partition.
"""

from __future__ import annotations

import dataclasses
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings
from django.db import connection

from apps.reporting.queries import stats as selectors
from apps.sms import events, statuses
from apps.sms.models import Message, OutboxEntry
from apps.sms.settlement.service import statuses_settle
from smsgateway import ids
from smsgateway.clickhouse import ClickHouse
from smsgateway.config.kafka import Kafka
from tests.support.customers import MakeCustomer
from tests.support.ingest import committed, publish, wait_until
from tests.support.receipts import accept
from tests.support.statistics import DAY, stats_of

KILLS = int(os.environ.get("INGEST_KILLS", "3"))
MESSAGES = int(os.environ.get("INGEST_KILLS_MESSAGES", "300"))

TRUTH = """
    WITH reached AS
    (
        SELECT message_id, max(array_position(%s::text[], status)) AS furthest, sum(refund) AS refund
        FROM sms_statusentry GROUP BY message_id
    ),
    counted AS
    (
        SELECT customer_id, segments, cost, (%s::text[])[coalesce(furthest, 1)] AS status, coalesce(refund, 0) AS refund
        FROM sms_message LEFT JOIN reached ON message_id = id
    )
    SELECT customer_id, count(*), sum(segments), sum(cost),
           count(*) FILTER (WHERE status = 'delivered'), count(*) FILTER (WHERE status = 'undelivered'),
           count(*) FILTER (WHERE status = 'failed'), count(*) FILTER (WHERE status = 'rejected'),
           count(*) FILTER (WHERE status = 'expired'), count(*) FILTER (WHERE status = 'canceled'),
           count(*) FILTER (WHERE status IN ('accepted', 'submitted', 'unknown')), sum(refund)
    FROM counted GROUP BY customer_id
"""


@contextmanager
def bridge_process(config: Kafka) -> Iterator[subprocess.Popen[bytes]]:
    environment = os.environ | {
        "KAFKA_TOPIC_ACCEPTED": config.topic_accepted,
        "KAFKA_TOPIC_STATUS": config.topic_status,
        "KAFKA_TOPIC_DEAD_LETTER": config.topic_dead_letter,
        "KAFKA_CONSUMER_GROUP_PREFIX": config.consumer_group_prefix,
        "KAFKA_CONSUMER_SESSION_TIMEOUT": str(config.consumer_session_timeout),
    }
    with subprocess.Popen([sys.executable, "manage.py", "ingest"], cwd=settings.BASE_DIR, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


def traffic(customers: list[UUID], chance: random.Random) -> list[events.AnyEvent]:
    """Messages of these customers are accepted and settled in PostgreSQL; their events, in disorder."""
    made: list[events.AnyEvent] = []
    message_ids = {
        message: customer for customer in customers for message in accept(customer, MESSAGES // len(customers))
    }
    for message in Message.objects.filter(id__in=message_ids):
        made.append(
            events.MessageAccepted(
                message_id=ids.to_text(message.id),
                customer_id=ids.to_text(message.customer_id),
                accepted_at=ids.milliseconds(message.id),
                operator=message.operator,
                country="IR",
                encoding=message.encoding,
                segments=message.segments,
                cost=message.cost,
                currency="IRR",
            )
        )
    batch = []
    for message_id, customer in message_ids.items():
        ends = chance.choice(
            [["delivered"], ["failed"], ["undelivered"], ["undelivered", "delivered"], ["expired"], []]
        )
        for name in ["submitted", *ends]:
            batch.append(
                events.StatusChanged(
                    message_id=ids.to_text(message_id),
                    customer_id=ids.to_text(customer),
                    status=name,
                    at=ids.milliseconds(message_id) + chance.randrange(1, 60_000),
                    operator="mci",
                )
            )
    statuses_settle(batch=batch)
    refunds = OutboxEntry.objects.exclude(payload=None)
    made += batch
    made += [events.decode_status(bytes(entry.payload or b"")) for entry in refunds]
    refunds.delete()
    chance.shuffle(made)
    return made


def truth() -> dict[UUID, dict[str, int]]:
    with connection.cursor() as cursor:
        cursor.execute(TRUTH, [list(statuses.ORDER)] * 2)
        return {customer: dict(zip(selectors.COUNTS, map(int, counts), strict=True)) for customer, *counts in cursor}


def totals_by_customer(database: ClickHouse, customers: list[UUID], interval: selectors.Interval) -> dict[UUID, Any]:
    now = time.time_ns() // 1_000_000
    since, until = ids.moment_of(now) - 2 * DAY, ids.moment_of(now) + 2 * DAY
    return {
        customer: selectors.totals(stats_of(database, customer, interval=interval, since=since, until=until))
        for customer in customers
    }


@pytest.mark.kills
@pytest.mark.django_db(transaction=True)
def test_statistics_equal_postgresql_after_kills_and_a_replay(
    config: Kafka, database: ClickHouse, make_customer: MakeCustomer
) -> None:
    seed = random.randrange(10**6)
    chance = random.Random(seed)
    customers = [make_customer(balance=10**9) for _ in range(3)]

    def inserted() -> int:
        # Distinct ones: repeats go when parts merge.
        counted = "SELECT uniqExact(message_id, type, status) FROM sms_events WHERE customer_id IN %(customers)s"
        return int(database.query(counted, {"customers": customers})[0][0])

    published = 0
    for _ in range(KILLS):
        before = inserted()
        made = traffic(customers, chance)
        repeated = chance.sample(made, len(made) // 10)
        with bridge_process(config) as process:
            publish(config, *made, *repeated)
            published += len(made) + len(repeated)
            wait_until(lambda before=before: inserted() > before)  # type: ignore[misc]
            with suppress(subprocess.TimeoutExpired):
                process.wait(chance.uniform(0, 0.8))
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL, f"it ended by itself (seed {seed})"
    with bridge_process(config):
        wait_until(lambda: committed(config) == published)

    expected = truth()
    assert sum(counts["accepted"] for counts in expected.values()) == KILLS * (MESSAGES // 3) * 3
    for interval in (selectors.MINUTE, selectors.DAY):
        assert totals_by_customer(database, customers, interval) == expected, f"seed {seed}"

    again = dataclasses.replace(config, consumer_group_prefix=f"{config.consumer_group_prefix}.again")
    with bridge_process(again):
        wait_until(lambda: committed(again) == published)
        for interval in (selectors.MINUTE, selectors.DAY):
            assert totals_by_customer(database, customers, interval) == expected, f"seed {seed}"
