"""The worker from a settled status to a request at the customer's endpoint, and what it does when that goes wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import OperationalError, connections
from prometheus_client import REGISTRY
from rest_framework.test import APIClient

from apps.customers.callback_endpoints import endpoint_set, secret_rotate, secrets_told
from apps.customers.models import CallbackEndpoint
from apps.sms.callbacks import rows
from apps.sms.callbacks.enqueue import USUAL, callback_replay, callback_test
from apps.sms.callbacks.lanes import Turn
from apps.sms.models import Callback, Message
from apps.sms.settlement.service import statuses_settle
from smsgateway import ids
from tests.support.callbacks import (
    Answer,
    Endpoint,
    RunningWorker,
    all_are,
    config_with,
    counts,
    endpoint_of,
    event,
    let_time_pass,
    settle,
    wait_for,
)
from tests.support.customers import MakeCustomer
from tests.support.database import database_url

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).parents[3]


def tried(times: int) -> bool:
    """Whether every pending callback has been tried so often, and what came of it is recorded."""
    return not Callback.objects.exclude(attempts=times).exists()


def attempts_counted(outcome: str) -> float:
    return REGISTRY.get_sample_value("callback_attempts_total", {"outcome": outcome}) or 0.0


def test_the_customer_is_told_what_became_of_its_message(make_customer: MakeCustomer, api: APIClient) -> None:
    customer_id = make_customer()
    counted = attempts_counted("delivered")
    with Endpoint() as endpoint, RunningWorker(config_with()):
        secret = endpoint_of(customer_id, endpoint.url)
        [message_id] = settle(customer_id, status="undelivered", metadata={"campaign": "9"})
        wait_for(lambda: all_are("delivered"), "the callback")
    [received] = endpoint.received
    told = received.verified(secret)
    assert (told["type"], told["timestamp"]) == ("message.undelivered", "2027-01-15T08:00:00Z")
    assert told["data"] == api.get(f"/v1/sms/{ids.to_text(message_id)}").json()
    assert (told["data"]["status"], told["data"]["refunded"]) == ("undelivered", 100)
    callback = Callback.objects.get()
    assert received.id == ids.to_text(callback.id)
    assert (callback.attempts, callback.last_http_status, callback.last_error) == (1, 204, "")
    assert attempts_counted("delivered") == counted + 1


def test_a_failed_try_is_repeated_with_the_same_id_and_a_new_time(make_customer: MakeCustomer) -> None:
    customer_id = make_customer()

    def answer(_path: str, before: int) -> Answer:
        return (500 if before < 2 else 200), {}

    with Endpoint(answer) as endpoint, RunningWorker(config_with(retry_delays=["3600", "7200"])):
        secret = endpoint_of(customer_id, endpoint.url)
        settle(customer_id)
        for times in (1, 2):
            wait_for(lambda times=times: tried(times), "a try")
            callback = Callback.objects.get()
            assert (callback.status, callback.last_error, callback.last_http_status) == ("pending", "server_error", 500)
            assert callback.next_at is not None
            assert callback.last_at is not None
            waits = (callback.next_at - callback.last_at).total_seconds()
            assert 3600 * times <= waits < 3600 * times + 600
            let_time_pass()
        wait_for(lambda: all_are("delivered"), "the callback")
    assert len(endpoint.received) == 3
    assert len({received.id for received in endpoint.received}) == 1
    assert all(received.verified(secret) for received in endpoint.received)


def test_after_the_last_try_it_has_failed(make_customer: MakeCustomer) -> None:
    customer_id = make_customer()
    with Endpoint(lambda _path, _before: (404, {})) as endpoint, RunningWorker(config_with(retry_delays=["0.01"])):
        endpoint_of(customer_id, endpoint.url)
        settle(customer_id)
        wait_for(lambda: all_are("failed"), "the end of the tries")
    assert len(endpoint.received) == 2
    callback = Callback.objects.get()
    assert (callback.attempts, callback.last_error, callback.next_at) == (2, "client_error", None)


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_waited_for(make_customer: MakeCustomer, status: int) -> None:
    customer_id = make_customer()
    told: Answer = (status, {"Retry-After": "3600"})
    with Endpoint(lambda _path, _before: told) as endpoint, RunningWorker(config_with()):
        endpoint_of(customer_id, endpoint.url)
        settle(customer_id)
        wait_for(lambda: tried(1), "the try")
    callback = Callback.objects.get()
    assert callback.next_at is not None
    assert callback.last_at is not None
    assert (callback.next_at - callback.last_at).total_seconds() >= 3600


def test_410_disables_the_endpoint_with_its_reason(make_customer: MakeCustomer) -> None:
    customer_id = make_customer()
    with Endpoint(lambda _path, _before: (410, {})) as endpoint, RunningWorker(config_with(per_customer=1)):
        endpoint_of(customer_id, endpoint.url)
        settle(customer_id, count=5)
        wait_for(lambda: all_are("failed"), "all to be given up")
        found = CallbackEndpoint.objects.get()
        assert found.disabled_at is not None
        assert "410" in found.disabled_reason
        settle(customer_id)
        assert Callback.objects.count() == 5
    reasons = Counter(Callback.objects.values_list("last_error", flat=True))
    assert reasons["gone"] == len(endpoint.received) >= 1
    assert reasons["endpoint_disabled"] == 5 - reasons["gone"]


def test_410_of_a_messages_own_address_or_of_a_former_one_disables_nothing(make_customer: MakeCustomer) -> None:
    customer_id = make_customer()
    with Endpoint() as good:

        def answer(_path: str, before: int) -> Answer:
            if before == 1:  # while it answers, the customer moves
                endpoint_set(customer_id=customer_id, url=good.url, statuses=USUAL, enabled=True)
            return 410, {}

        with Endpoint(_in_thread_of_its_own(answer)) as gone, RunningWorker(config_with()):
            endpoint_of(customer_id, gone.url)
            settle(customer_id, callback_url=gone.url)
            wait_for(lambda: all_are("failed"), "the first")
            assert CallbackEndpoint.objects.get().disabled_at is None
            settle(customer_id)
            wait_for(lambda: Callback.objects.filter(status="failed").count() == 2, "the second")
            settle(customer_id)
            wait_for(lambda: Callback.objects.filter(status="delivered").count() == 1, "the third")
    assert CallbackEndpoint.objects.get().disabled_at is None


def _in_thread_of_its_own(answer: Callable[[str, int], Answer]) -> Callable[[str, int], Answer]:
    """The same, leaving no database connection to the endpoint's thread."""

    def closing(path: str, before: int) -> Answer:
        try:
            return answer(path, before)
        finally:
            connections.close_all()

    return closing


def test_a_name_of_the_own_network_is_refused_and_tried_again_later(make_customer: MakeCustomer) -> None:
    customer_id = make_customer()
    with Endpoint() as endpoint, RunningWorker(config_with(allow_private="false")):
        endpoint_of(customer_id, f"http://localhost:{endpoint.port}/")
        settle(customer_id)
        wait_for(lambda: tried(1), "the try")
        assert endpoint.received == []
    callback = Callback.objects.get()
    assert (callback.status, callback.last_error) == ("pending", "address_refused")


def test_during_the_overlap_both_secrets_sign(make_customer: MakeCustomer) -> None:
    customer_id = make_customer()
    with Endpoint() as endpoint, RunningWorker(config_with()):
        old = endpoint_of(customer_id, endpoint.url)
        new, _ = secret_rotate(customer_id=customer_id)
        settle(customer_id)
        wait_for(lambda: all_are("delivered"), "the callback")
        secrets_told(customer_id=customer_id)[1].delete()  # the overlap ends
        callback_test(customer_id=customer_id)
        wait_for(lambda: len(endpoint.received) == 2, "the second callback")
    first, second = endpoint.received
    assert first.verified(old) == first.verified(new)
    assert len(first.headers["webhook-signature"].split()) == 2
    assert second.verified(new)
    assert len(second.headers["webhook-signature"].split()) == 1


def test_a_messages_own_address_is_signed_with_a_secret_made_for_it(make_customer: MakeCustomer) -> None:
    customer_id = make_customer()
    with Endpoint() as endpoint, RunningWorker(config_with()):
        settle(customer_id, count=3, callback_url=endpoint.url + "orders/17")
        wait_for(lambda: all_are("delivered"), "the callbacks")
    [secret] = secrets_told(customer_id=customer_id)
    assert {received.path for received in endpoint.received} == {"/orders/17"}
    assert all(received.verified(secret.secret) for received in endpoint.received)


def test_a_test_event_comes_signed(make_customer: MakeCustomer) -> None:
    customer_id = make_customer()
    with Endpoint() as endpoint, RunningWorker(config_with()):
        secret = endpoint_of(customer_id, endpoint.url)
        callback_test(customer_id=customer_id)
        wait_for(lambda: all_are("delivered"), "the test")
    told = endpoint.received[0].verified(secret)
    assert (told["type"], told["data"]) == ("callback.test", {"customer_id": ids.to_text(customer_id)})


def test_what_was_delivered_or_has_failed_is_sent_again_when_asked_for(make_customer: MakeCustomer) -> None:
    customer_id = make_customer()

    def answer(_path: str, before: int) -> Answer:
        return (500 if before == 0 else 200), {}

    with Endpoint(answer) as endpoint, RunningWorker(config_with(retry_delays=["3600"])):
        endpoint_of(customer_id, endpoint.url)
        settle(customer_id)
        wait_for(lambda: tried(1), "the first try")
        for times in (2, 3):
            callback_replay(callback=Callback.objects.get())
            wait_for(lambda: all_are("delivered"), "the callback")
            assert len(endpoint.received) == times
    assert len({received.id for received in endpoint.received}) == 1


def test_what_can_not_be_told_has_failed(make_customer: MakeCustomer) -> None:
    gone, deleted = make_customer(), make_customer()
    with Endpoint() as endpoint:
        settle(gone, callback_url=endpoint.url)
        settle(deleted, callback_url=endpoint.url)
        Message.objects.filter(customer_id=gone).delete()
        Callback.objects.filter(customer_id=deleted).update(customer_id=ids.new_id())  # nobody's
        with RunningWorker(config_with()) as worker:
            wait_for(lambda: all_are("failed"), "both to be given up")
            assert worker.alive
        assert endpoint.received == []
    assert set(Callback.objects.values_list("last_error", flat=True)) == {"message_gone", "customer_gone"}


def test_a_slow_endpoint_delays_its_own_customer_alone(make_customer: MakeCustomer) -> None:
    slow, fast = make_customer(), make_customer()
    released = threading.Event()

    def never(_path: str, _before: int) -> Answer:
        released.wait()
        return 200, {}

    config = config_with(per_customer=3, concurrency=5, timeout=300.0)
    with Endpoint(never) as slow_endpoint, Endpoint() as fast_endpoint, RunningWorker(config):
        endpoint_of(slow, slow_endpoint.url)
        endpoint_of(fast, fast_endpoint.url)
        settle(slow, count=20)
        wait_for(lambda: len(slow_endpoint.received) == 3, "the slow one's places to be taken")
        settle(fast, count=20)
        delivered = Callback.objects.filter(customer_id=fast, status="delivered")
        wait_for(lambda: delivered.count() == 20, "the fast one's callbacks")
        assert len(slow_endpoint.received) == 3
        released.set()
        wait_for(lambda: all_are("delivered"), "the slow one's callbacks")
    assert len(slow_endpoint.received) == 20


def test_two_workers_share_and_none_sends_what_the_other_does(make_customer: MakeCustomer) -> None:
    customer_id = make_customer()
    both = threading.Barrier(2)

    def answer(_path: str, before: int) -> Answer:
        if before < 2:
            both.wait(timeout=120)  # one from each worker, for each has one place
        return 200, {}

    config = config_with(per_customer=1, concurrency=1, timeout=300.0)
    with Endpoint(answer) as endpoint, RunningWorker(config), RunningWorker(config):
        endpoint_of(customer_id, endpoint.url)
        settle(customer_id, count=40)
        wait_for(lambda: all_are("delivered"), "all callbacks")
    assert len(endpoint.received) == 40
    assert len({received.id for received in endpoint.received}) == 40


def test_on_sigterm_what_is_in_flight_ends_first(make_customer: MakeCustomer) -> None:
    customer_id = make_customer()
    released = threading.Event()

    def answer(_path: str, _before: int) -> Answer:
        released.wait()
        return 200, {}

    with Endpoint(answer) as endpoint:
        endpoint_of(customer_id, endpoint.url)
        settle(customer_id, count=4)
        with RunningWorker(config_with(per_customer=3, timeout=300.0, drain_timeout=300.0)) as worker:
            wait_for(lambda: len(endpoint.received) == 3, "the requests")
            worker.process.stop()
            released.set()
    assert dict(counts()) == {"delivered": 3, "pending": 1}  # nothing new was begun
    assert len(endpoint.received) == 3


def test_what_does_not_end_within_the_drain_time_is_given_back(make_customer: MakeCustomer) -> None:
    customer_id = make_customer()
    released = threading.Event()

    def answer(_path: str, _before: int) -> Answer:
        released.wait()
        return 200, {}

    with Endpoint(answer) as endpoint:
        endpoint_of(customer_id, endpoint.url)
        settle(customer_id)
        with RunningWorker(config_with(timeout=300.0, drain_timeout=0.1)):
            wait_for(lambda: len(endpoint.received) == 1, "the request")
        released.set()
        due = rows.lanes(after=rows.START, most=10).due
        [row] = rows.claim(turns=[Turn(one.lane, 1) for one in due], lease_seconds=60)  # at once
        assert row.attempts == 0


def test_what_a_killed_process_had_in_flight_is_sent_by_another(make_customer: MakeCustomer, tmp_path: Path) -> None:
    customer_id = make_customer()
    released = threading.Event()

    def answer(_path: str, before: int) -> Answer:
        if before < 3:
            released.wait()
        return 200, {}

    environment = os.environ | {"DATABASE_URL": database_url(), "CALLBACK_ALLOW_PRIVATE": "true", "METRICS_PORT": "0"}
    with Endpoint(answer) as endpoint, (tmp_path / "log").open("wb") as log:
        secret = endpoint_of(customer_id, endpoint.url)
        settle(customer_id, count=3)
        command = [sys.executable, "manage.py", "callbacks"]
        with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log) as killed:
            try:
                wait_for(lambda: len(endpoint.received) == 3, "the requests")
            finally:
                killed.send_signal(signal.SIGKILL)
        released.set()
        assert killed.returncode == -signal.SIGKILL
        with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log) as other:
            try:
                [message_id] = settle(customer_id)
                of_this = Callback.objects.filter(message_id=message_id, status="delivered")
                wait_for(of_this.exists, "the other process to work")
                assert len(endpoint.received) == 4  # the others are leased
                let_time_pass()
                wait_for(lambda: all_are("delivered"), "what the killed one had")
            finally:
                other.send_signal(signal.SIGTERM)
        assert other.returncode == 0
    assert all(received.verified(secret) for received in endpoint.received)
    times = Counter(received.id for received in endpoint.received)
    assert sorted(times.values()) == [1, 2, 2, 2]


def test_the_worker_waits_for_the_database_and_loses_nothing(
    make_customer: MakeCustomer, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer_id = make_customer()
    finish, failures = rows.finish, []

    def away(outcomes: list[rows.Outcome]) -> None:
        if len(failures) < 2:
            failures.append(len(outcomes))
            raise OperationalError("the server closed the connection")
        finish(outcomes)

    monkeypatch.setattr(rows, "finish", away)
    with Endpoint() as endpoint, RunningWorker(config_with()) as worker:
        endpoint_of(customer_id, endpoint.url)
        [message_id] = settle(customer_id)
        wait_for(lambda: all_are("delivered"), "the outcome")
        statuses_settle(batch=[event(message_id, customer_id, "delivered")])
        assert worker.alive
    assert len(failures) == 2
    assert len(endpoint.received) == 1
