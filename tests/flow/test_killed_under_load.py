"""Processes of the API killed and stopped under full load: every 200 is stored and paid once, and no retry adds one.

Each client sends with an Idempotency-Key, and again with the same key until it is answered. KILL_ROUNDS (default 1) is
how many times each process is killed, KILL_CLIENTS (default 24) how many clients send.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from django.db import connections

from apps.balance.models import Account, LedgerEntry
from apps.balance.selectors import accounts_off
from apps.devservices.gateway import API, Gateway, is_free
from apps.devservices.processes import has_ended
from apps.sms.models import IdempotencyRecord, Message, OutboxEntry
from smsgateway import ids
from tests.support.customers import MakeCustomer
from tests.support.database import database_url
from tests.support.waiting import WAIT_SECONDS, wait_for

pytestmark = [pytest.mark.kills, pytest.mark.django_db(transaction=True), pytest.mark.timeout(900)]

ROUNDS = int(os.environ.get("KILL_ROUNDS", "1"))
CLIENTS = int(os.environ.get("KILL_CLIENTS", "24"))
CUSTOMERS = 6
BALANCE, PRICE = 10**9, 100
ANSWERS_BETWEEN = 300
AGAIN = 1000
# Clients come from another loopback address than the API's: one that tries a closed port again and again would in the
# end be connected to itself, when the kernel gives it that very port.
SOURCE = ("127.0.0.2", 0)
# The first request with the key has not ended; the API is too busy, or the database did not answer in time.
RETRY = {409, 503}


class Unanswered(Exception):
    """The connection broke before the answer."""


@pytest.fixture
def api(transactional_db: None, tmp_path: Path) -> Iterator[Gateway]:
    """The API alone, in three processes."""
    environment = os.environ | {"DATABASE_URL": database_url(), "LOG_LEVEL": "warning"}
    with Gateway(directory=tmp_path, environ=environment, workers=3) as running:
        running.start(API)
        running.wait_ready(API, timeout=WAIT_SECONDS)
        yield running


class Load:
    """Clients that send, each over its own connection, until `end`. The key of a message is its text.

    `answers`: the body of every 200, by key. `broken`: keys whose last attempt broke, and that were not tried again.
    Clients try again only while `resume` is set. `were_broken`: keys of which any attempt broke.
    """

    def __init__(self, address: str, customers: Sequence[str]) -> None:
        self.address = address
        self.customers = customers
        self.answers: dict[str, bytes] = {}
        self.broken: set[str] = set()
        self.were_broken: set[str] = set()
        self.resume = threading.Event()
        self.resume.set()
        self.ends = threading.Event()
        self._lock = threading.Lock()

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.address, timeout=60, source_address=SOURCE)

    def client(self, number: int) -> None:
        client = self.connection()
        for count in itertools.count():
            if self.ends.is_set():
                break
            key = f"{number}-{count}"
            answer = self._until_answered(client, key)
            with self._lock:
                self.answers[key] = answer
        client.close()

    def send(self, client: http.client.HTTPConnection, key: str) -> tuple[int, bytes]:
        """One attempt: status and body. Raises Unanswered."""
        customer = self.customers[sum(map(int, key.split("-"))) % len(self.customers)]
        body = json.dumps({"customer_id": customer, "to": "09121234567", "text": key})
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        try:
            client.request("POST", "/v1/sms/send", body, headers)
            response = client.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            client.close()
            raise Unanswered from error

    def _until_answered(self, client: http.client.HTTPConnection, key: str) -> bytes:
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            try:
                status, answer = self.send(client, key)
            except Unanswered:
                with self._lock:
                    self.broken.add(key)
                    self.were_broken.add(key)
                self.resume.wait(WAIT_SECONDS)
                with self._lock:
                    self.broken.discard(key)
                time.sleep(0.01)  # as clients do: the port may be closed for a moment
                continue
            if status == 200:
                return answer
            assert status in RETRY, (status, answer)
            time.sleep(0.01)
        raise AssertionError(f"{key} got no 200 within {WAIT_SECONDS} s")

    def more_answers(self) -> None:
        """Wait until the load is under way: some hundred answers from now on."""
        before = len(self.answers)
        wait_for(lambda: len(self.answers) >= before + ANSWERS_BETWEEN, f"{ANSWERS_BETWEEN} more answers")


@contextmanager
def full_load(api: Gateway, customers: Sequence[str]) -> Iterator[Load]:
    """All clients send while the block runs; after it every request of theirs was answered with 200."""
    load = Load(urlsplit(api.api_url).netloc, customers)
    with ThreadPoolExecutor(CLIENTS) as threads:
        running = [threads.submit(load.client, number) for number in range(CLIENTS)]
        try:
            yield load
        finally:
            load.resume.set()
            load.ends.set()
        for each in running:
            each.result()
    connections.close_all()


@pytest.fixture
def customers(make_customer: MakeCustomer) -> list[str]:
    return [ids.to_text(make_customer(balance=BALANCE)) for _ in range(CUSTOMERS)]


def workers(api: Gateway) -> list[psutil.Process]:
    """The API's processes that handle requests."""
    return [process for process in psutil.Process(api.pid(API)).children() if not has_ended(process)]


def signal_worker(api: Gateway, number: signal.Signals) -> None:
    """Signal one worker, and wait until it is gone and another has its place."""
    before = workers(api)
    worker = random.choice(before)
    worker.send_signal(number)
    wait_for(lambda: has_ended(worker), "the worker's end")
    wait_for(lambda: len(workers(api)) >= len(before), "a new worker")


def restart(api: Gateway) -> None:
    wait_for(lambda: is_free(api.ports.api), "the end of the last worker")
    api.start(API)
    api.wait_ready(API, timeout=WAIT_SECONDS)


def kill_master(api: Gateway) -> None:
    """Kill the process that started the workers; they notice, and end."""
    api.stop(API, signal.SIGKILL)
    restart(api)


def stop_master(api: Gateway) -> None:
    assert api.stop(API, signal.SIGTERM) == 0
    restart(api)


def kill_everything(api: Gateway) -> None:
    """Kill master and workers in one moment, as when the machine's memory ends."""
    for process in workers(api):
        process.kill()
    kill_master(api)


FATES: dict[str, Callable[[Gateway], None]] = {
    "kill -9 of a worker": lambda api: signal_worker(api, signal.SIGKILL),
    "SIGTERM to a worker": lambda api: signal_worker(api, signal.SIGTERM),
    "kill -9 of the master": kill_master,
    "SIGTERM to the master": stop_master,
    "kill -9 of all": kill_everything,
}


def test_every_200_is_stored_and_paid_once_whatever_process_is_killed(api: Gateway, customers: list[str]) -> None:
    with full_load(api, customers) as load:
        load.more_answers()
        for _ in range(ROUNDS):
            for fate in FATES.values():
                fate(api)
                load.more_answers()
    assert_stored_and_paid_once(load)

    # Clients that lost their answers ask again: for those that broke, and for any others.
    keys = {*load.were_broken, *random.sample(sorted(load.answers), min(AGAIN, len(load.answers)))}

    def again(part: int) -> None:
        client = load.connection()
        for key in sorted(keys)[part::CLIENTS]:
            assert load.send(client, key) == (200, load.answers[key])
        client.close()

    with ThreadPoolExecutor(CLIENTS) as threads:
        list(threads.map(again, range(CLIENTS)))
    connections.close_all()
    assert_stored_and_paid_once(load)


@pytest.mark.parametrize("fate", ["SIGTERM to a worker", "SIGTERM to the master"])
def test_sigterm_leaves_no_charged_request_unanswered(api: Gateway, customers: list[str], fate: str) -> None:
    with full_load(api, customers) as load:
        load.more_answers()
        for _ in range(2 * ROUNDS):
            load.resume.clear()
            if fate == "SIGTERM to a worker":
                signal_worker(api, signal.SIGTERM)
            else:
                assert api.stop(API, signal.SIGTERM) == 0
            # Nobody has tried again: what is stored with these keys was charged, and its answer never came.
            broken = list(load.broken)
            charged = list(IdempotencyRecord.objects.filter(key__in=broken).values_list("key", flat=True))
            assert charged == [], f"{len(charged)} of {len(broken)} broken requests were charged"
            if fate == "SIGTERM to the master":
                restart(api)
            load.resume.set()
            load.more_answers()
    assert_stored_and_paid_once(load)


def assert_stored_and_paid_once(load: Load) -> None:
    """What was answered with 200 is what is stored, each once, each paid once."""
    answered = {key: json.loads(answer)["id"] for key, answer in load.answers.items()}
    stored = Counter(Message.objects.values_list("text", flat=True))
    assert stored == Counter(answered.keys()), "a message for each key that was answered, and only one"
    messages = {
        text: (ids.to_text(message_id), customer_id, cost)
        for message_id, text, customer_id, cost in Message.objects.values_list("id", "text", "customer_id", "cost")
    }
    assert {key: message_id for key, (message_id, _, _) in messages.items()} == answered
    charges = Counter(LedgerEntry.objects.filter(kind="charge").values_list("message_id", "customer_id", "amount"))
    assert charges == Counter(
        (ids.from_text(message_id), customer_id, -cost) for message_id, customer_id, cost in messages.values()
    )
    assert OutboxEntry.objects.count() == len(answered)
    paid = Counter(customer_id for _, customer_id, _ in messages.values())
    for customer in load.customers:
        customer_id = ids.from_text(customer)
        assert Account.objects.get(customer_id=customer_id).balance == BALANCE - PRICE * paid[customer_id]
    assert not accounts_off()
