"""Each part is broken for real, and the metric that its alert asks for moves; mended, it goes back.

What only Prometheus itself can see (`up`, files of jobs, disks): test_alerts_seen.py and tests/operations.
"""

from __future__ import annotations

import datetime as dt
import socket
import threading
import unittest.mock
import urllib.error
import urllib.request
from collections.abc import Callable

import pytest
from confluent_kafka import Producer
from django.conf import settings
from django.db import connection, transaction

from apps.balance.models import Account
from apps.devservices.gateway import API, CALLBACKS, DELIVER, INGEST, OPERATOR_SIMULATOR, RELAY, SETTLE, WATCH, Gateway
from smsgateway import ids, partitions
from tests.support.customers import MakeCustomer
from tests.support.running_gateway import call, metric_value
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.flow, pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes of this test look often and give up soon."""
    for name, value in (
        ("WATCH_INTERVAL", "0.2"),
        ("WATCH_LEDGER_INTERVAL", "0.2"),
        ("WORKER_BREAKER_FAILURES", "2"),
        ("WORKER_RETRY_CAP", "0.5"),
        ("CALLBACK_PER_CUSTOMER", "1"),
        ("KAFKA_PRODUCER_TIMEOUT", "1000"),
    ):
        monkeypatch.setenv(name, value)


@pytest.fixture
def send(gateway: Gateway, make_customer: MakeCustomer) -> Callable[..., tuple[int, object]]:
    customer = ids.to_text(make_customer(balance=10**6, pace=1000))

    def send(to: str = "09121234501", **options: str) -> tuple[int, object]:
        body = {"customer_id": customer, "to": to, "text": "Hello", **options}
        return call("POST", f"{gateway.api_url}/v1/sms/send", body)

    return send


@pytest.fixture
def watched(gateway: Gateway) -> Callable[..., float]:
    gateway.start(WATCH)
    gateway.wait_ready(WATCH)

    def watched(name: str, /, **labels: str) -> float:
        return metric_value(gateway, WATCH, name, **labels)

    return watched


@pytest.mark.breaks("OutboxOld", "ConsumerBehind", "StatisticsStale")
def test_a_stopped_process_shows_in_what_is_measured_from_outside(
    gateway: Gateway, send: Callable[..., tuple[int, object]], watched: Callable[..., float]
) -> None:
    prefix = "watch_consumer_behind_seconds"
    for process, metric, labels in (
        (RELAY, "watch_outbox_oldest_age_seconds", {}),
        (SETTLE, prefix, {"process": "settle"}),
        (INGEST, prefix, {"process": "ingest"}),
        (DELIVER, prefix, {"process": "deliver"}),
    ):
        wait_for(lambda: watched(metric, **labels) == 0, f"{process} to be level")  # noqa: B023
        gateway.stop(process)
        with pytest.raises(urllib.error.URLError):  # ProcessDown: `up` is 0
            metric_value(gateway, process, "up")
        assert send(priority="otp")[0] == 200
        wait_for(lambda: watched(metric, **labels) > 0.5, f"{metric} without {process}")  # noqa: B023
        if process != RELAY:
            assert watched("watch_consumer_lag_events", **labels) > 0
        gateway.start(process)
        gateway.wait_ready(process)
    wait_for(lambda: watched(prefix) == 0, "every group to be level")
    assert watched("watch_looked_at_timestamp_seconds", part="deliver") > 0


@pytest.mark.breaks("CircuitOpen", "DeliveryRateLow")
def test_an_operator_that_is_away_opens_its_circuit(gateway: Gateway, send: Callable[..., tuple[int, object]]) -> None:
    gateway.stop(OPERATOR_SIMULATOR)
    for _ in range(4):
        send()
    wait_for(lambda: metric_value(gateway, DELIVER, "delivery_circuit_open", operator="mci") == 1, "an open circuit")
    gateway.start(OPERATOR_SIMULATOR)
    wait_for(lambda: metric_value(gateway, DELIVER, "delivery_circuit_open", operator="mci") == 0, "a closed circuit")
    ended = {"status": "delivered", "operator": "mci"}
    wait_for(lambda: metric_value(gateway, SETTLE, "settle_events_total", **ended) == 4, "delivered messages")
    send(to="09121230002")  # the simulator's number of a message that does not arrive
    ended["status"] = "undelivered"
    wait_for(lambda: metric_value(gateway, SETTLE, "settle_events_total", **ended) == 1, "an undelivered one")


@pytest.mark.breaks("LedgerMismatch", "PartitionsAhead", "HighErrorRate", "WatchBlind", "DeductionSlow", "SendSlow")
@pytest.mark.breaks("DeadLetters", "CallbacksLate", "RelayErrors", "RoutesStale", "SuspensionsStale")
def test_what_is_wrong_in_the_stores_shows(
    gateway: Gateway, send: Callable[..., tuple[int, object]], watched: Callable[..., float]
) -> None:
    assert send()[0] == 200
    _a_hand_in_the_database(gateway, send, watched)
    _a_send_that_waits_for_a_lock(gateway, send)
    _an_event_that_nobody_can_read(gateway)
    _an_endpoint_that_never_answers(gateway, send)
    _kafka_that_the_relay_does_not_reach(gateway, send)


def _a_hand_in_the_database(
    gateway: Gateway, send: Callable[..., tuple[int, object]], watched: Callable[..., float]
) -> None:
    wait_for(lambda: watched("watch_looked_at_timestamp_seconds", part="ledger") > 0, "the ledger to be looked at")
    assert watched("watch_ledger_mismatched_accounts") == 0
    with connection.cursor() as cursor:
        cursor.execute("UPDATE balance_account SET balance = balance + 1")
        wait_for(lambda: watched("watch_ledger_mismatched_accounts") == 1, "the mismatch")
        cursor.execute("UPDATE balance_account SET balance = balance - 1")
        wait_for(lambda: watched("watch_ledger_mismatched_accounts") == 0, "no mismatch")

        today = dt.datetime.now(tz=dt.UTC).date()
        assert watched("watch_partitions_days_ahead", table="sms_message") >= 3
        missing = today + dt.timedelta(days=2)
        cursor.execute(f"DROP TABLE {partitions.name_of('sms_message', missing)}")
        wait_for(lambda: watched("watch_partitions_days_ahead", table="sms_message") == 1, "the gap")
        partitions.create(first=missing, days=1)
        wait_for(lambda: watched("watch_partitions_days_ahead", table="sms_message") >= 3, "no gap")

        before = metric_value(gateway, API, "http_requests_total", route="v1/sms/send", status="500")
        cursor.execute("ALTER TABLE sms_outboxentry RENAME TO elsewhere")
        try:
            assert send()[0] == 500
            wait_for(
                lambda: (
                    watched("watch_looked_at_timestamp_seconds", part="partitions")
                    - watched("watch_looked_at_timestamp_seconds", part="outbox")
                    > 0.5
                ),
                "the watch process to be blind for the outbox",
            )
        finally:
            cursor.execute("ALTER TABLE elsewhere RENAME TO sms_outboxentry")
        assert metric_value(gateway, API, "http_requests_total", route="v1/sms/send", status="500") == before + 1


def _a_send_that_waits_for_a_lock(gateway: Gateway, send: Callable[..., tuple[int, object]]) -> None:
    def slow() -> float:
        every = metric_value(gateway, API, "balance_deduction_duration_seconds_bucket", le="+Inf")
        return every - metric_value(gateway, API, "balance_deduction_duration_seconds_bucket", le="0.1")

    before = slow()
    answers: list[tuple[int, object]] = []
    waiting = threading.Thread(target=lambda: answers.append(send()))
    with transaction.atomic(), connection.cursor() as cursor:
        list(Account.objects.select_for_update())
        waiting.start()
        stuck = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            " AND clock_timestamp() - query_start > interval '0.3 s' AND datname = current_database()"
        )

        def is_stuck() -> bool:
            cursor.execute("SELECT pg_stat_clear_snapshot()")
            cursor.execute(stuck)
            found: int = cursor.fetchone()[0]
            return found > 0

        wait_for(is_stuck, "the send to wait for the account")
    waiting.join()
    assert answers[0][0] == 200
    assert slow() == before + 1
    took = {"route": "v1/sms/send"}
    every = metric_value(gateway, API, "http_request_duration_seconds_bucket", le="+Inf", **took)
    assert every - metric_value(gateway, API, "http_request_duration_seconds_bucket", le="0.25", **took) >= 1


def _an_event_that_nobody_can_read(gateway: Gateway) -> None:
    topic = gateway._environ["KAFKA_TOPIC_STATUS"]
    producer = Producer({"bootstrap.servers": ",".join(settings.CONFIG.kafka.brokers)})
    producer.produce(topic, b"no event", b"key")
    assert producer.flush(30) == 0
    for process in (SETTLE, INGEST):
        wait_for(
            lambda: metric_value(gateway, process, "events_unreadable_total", topic=topic) == 1,  # noqa: B023
            f"{process} to put it aside",
        )


def _an_endpoint_that_never_answers(gateway: Gateway, send: Callable[..., tuple[int, object]]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as endpoint:
        url = f"http://127.0.0.1:{endpoint.getsockname()[1]}/"
        for _ in range(3):
            assert send(callback_url=url)[0] == 200
        wait_for(
            lambda: metric_value(gateway, CALLBACKS, "callbacks_oldest_due_age_seconds") > 0.5, "callbacks to be late"
        )


def _kafka_that_the_relay_does_not_reach(gateway: Gateway, send: Callable[..., tuple[int, object]]) -> None:
    gateway.stop(RELAY)
    with unittest.mock.patch.dict(gateway._environ, {"KAFKA_BROKERS": "127.0.0.1:9"}):
        gateway.start(RELAY)
    gateway.wait_ready(RELAY)
    assert send()[0] == 200
    wait_for(lambda: metric_value(gateway, RELAY, "outbox_errors_total", reason="kafka") > 0, "rounds that fail")
    for table in ("routes", "suspensions"):
        wait_for(
            lambda: metric_value(gateway, RELAY, "tables_unpublished_seconds", table=table) > 0.5,  # noqa: B023
            f"{table} to be unpublished",
        )
    gateway.restart(RELAY)
    for table, metric in (("routes", "routes_version"), ("suspensions", "suspensions_version")):
        wait_for(
            lambda: (
                metric_value(gateway, RELAY, "tables_published_version", table=table)  # noqa: B023
                == metric_value(gateway, DELIVER, metric)  # noqa: B023
                > 0
            ),
            f"{table} to be followed",
        )
        assert metric_value(gateway, RELAY, "tables_unpublished_seconds", table=table) == 0
    wait_for(
        lambda: metric_value(gateway, RELAY, "outbox_published_total", kind="accepted") >= 1, "the row to be published"
    )
