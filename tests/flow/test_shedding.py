"""Requests that would wait too long get 503 and Retry-After; one-time passwords and health checks go on."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from django.db import connection, transaction

from apps.balance.models import Account
from apps.devservices.gateway import API, Gateway
from apps.sms.models import Message
from smsgateway import ids
from tests.support.customers import MakeCustomer
from tests.support.database import database_url
from tests.support.running_gateway import call, metric_value
from tests.support.waiting import WAIT_SECONDS, wait_for

pytestmark = [pytest.mark.flow, pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]

THREADS = 2
Answer = tuple[int, http.client.HTTPMessage, dict[str, object]]


@pytest.fixture
def impatient(transactional_db: None, tmp_path: Path) -> Iterator[Gateway]:
    """The API in one process, with two threads for batches. Locks are not given up."""
    environment = os.environ | {
        "DATABASE_URL": database_url(),
        "DATABASE_LOCK_TIMEOUT": "600000",
        "DATABASE_STATEMENT_TIMEOUT": "600000",
        "HTTP_THREADS": str(THREADS),
        "HTTP_MAX_WAIT": "1000",
        "LOG_LEVEL": "warning",
    }
    with Gateway(directory=tmp_path, environ=environment, workers=1) as running:
        running.start(API)
        running.wait_ready(API, timeout=WAIT_SECONDS)
        yield running


@pytest.mark.breaks("ApiSheds")
def test_batches_that_would_wait_too_long_are_refused(impatient: Gateway, make_customer: MakeCustomer) -> None:
    held, other = make_customer(), make_customer()
    url = impatient.api_url
    message = {"to": "09121234567", "text": "hi", "priority": "otp"}
    batch = {"customer_id": ids.to_text(held), "messages": [message]}
    with ThreadPoolExecutor(200) as clients:
        with transaction.atomic():
            Account.objects.select_for_update().get(customer_id=held)
            attempts = [clients.submit(post, f"{url}/v1/sms/batch", batch) for _ in range(THREADS)]
            wait_for(lambda: blocked() == THREADS, "batches at the lock")

            def first_answer() -> Answer | None:
                """Another batch, each time; the first ones wait."""
                attempts.append(clients.submit(post, f"{url}/v1/sms/batch", batch))
                return next((attempt.result() for attempt in attempts if attempt.done()), None)

            status, headers, problem = wait_for(first_answer, "a refused batch")
            assert (status, problem["code"]) == (503, "overloaded")
            assert int(headers["Retry-After"]) > 0
            assert metric_value(impatient, API, "http_shed_total", kind="batch") > 0
            assert call("POST", f"{url}/v1/sms/send", {"customer_id": ids.to_text(other)} | message)[0] == 200
            assert call("GET", f"{url}/readyz")[0] == 200
        statuses = [attempt.result()[0] for attempt in attempts]
    assert set(statuses) == {200, 503}
    assert statuses[:THREADS] == [200] * THREADS
    assert call("POST", f"{url}/v1/sms/batch", batch)[0] == 200  # nobody waits any more
    assert Message.objects.filter(customer_id=held).count() == statuses.count(200) + 1


def test_bulk_messages_are_refused_before_one_time_passwords(impatient: Gateway, make_customer: MakeCustomer) -> None:
    url = f"{impatient.api_url}/v1/sms/send"
    message = {"customer_id": ids.to_text(make_customer()), "to": "09121234567", "text": "hi"}
    bulk, otp = message | {"priority": "bulk"}, message | {"priority": "otp"}
    assert post(url, message)[0] == 200
    with ThreadPoolExecutor(200) as clients:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("LOCK TABLE sms_outboxentry IN ACCESS EXCLUSIVE MODE")  # no statement can store a message
            waiting = [clients.submit(post, url, message)]
            wait_for(lambda: blocked() == 1, "a statement at the lock")

            def first_answer() -> Answer | None:
                waiting.append(clients.submit(post, url, bulk))
                return next((attempt.result() for attempt in waiting if attempt.done()), None)

            status, headers, problem = wait_for(first_answer, "a refused message")
            urgent = clients.submit(post, url, otp)
            assert (status, problem["code"]) == (503, "overloaded")
            assert int(headers["Retry-After"]) > 0
            assert call("GET", f"{impatient.api_url}/healthz")[0] == 200
        assert urgent.result()[0] == 200
        statuses = [attempt.result()[0] for attempt in waiting]
    assert statuses[0] == 200
    assert set(statuses) == {200, 503}
    assert Message.objects.count() == statuses.count(200) + 2


def blocked() -> int:
    """The connections of this test that wait for a lock.

    Asked on a connection of its own: within a transaction PostgreSQL does not see those that were opened later.
    """
    asked = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with psycopg.connect(database_url()) as database:
        found = database.execute(asked).fetchone()
    return found[0] if found else 0


def post(url: str, body: dict[str, object]) -> Answer:
    parts = urlsplit(url)
    client = http.client.HTTPConnection(parts.netloc, timeout=60)
    client.request("POST", parts.path, json.dumps(body), {"Content-Type": "application/json"})
    response = client.getresponse()
    found = response.status, response.headers, json.loads(response.read())
    client.close()
    return found
