"""One key, one charge, whatever clients repeat, over how many processes, and whichever of them is killed."""

from __future__ import annotations

import http.client
import json
import os
import random
import threading
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from django.db import connections

from apps.balance.models import Account, LedgerEntry
from apps.balance.selectors import accounts_off
from apps.devservices.gateway import API, Gateway
from apps.sms.models import Message, OutboxEntry
from smsgateway import ids
from tests.support.customers import MakeCustomer
from tests.support.database import database_url
from tests.support.waiting import WAIT_SECONDS, wait_for

pytestmark = [pytest.mark.flow, pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]

CLIENTS = 200
REQUESTS = 10  # of each client
KEYS = [f"key-{number}" for number in range(20)]


@pytest.fixture
def api_processes(transactional_db: None, tmp_path: Path) -> Iterator[Gateway]:
    """The API alone, in four processes."""
    environment = os.environ | {"DATABASE_URL": database_url(), "LOG_LEVEL": "warning"}
    with Gateway(directory=tmp_path, environ=environment, workers=4) as running:
        running.start(API)
        running.wait_ready(API, timeout=WAIT_SECONDS)
        yield running


def test_200_clients_with_20_keys_over_4_processes_two_of_which_are_killed(
    api_processes: Gateway, make_customer: MakeCustomer
) -> None:
    customer_id = make_customer(balance=1_000_000)
    body = json.dumps({"customer_id": ids.to_text(customer_id), "to": "09121234567", "text": "once"})
    address = urlsplit(api_processes.api_url).netloc
    answers: defaultdict[str, list[bytes]] = defaultdict(list)
    lock = threading.Lock()

    def send(key: str) -> bytes:
        """Send until there is an answer, as a client does whose connection breaks."""

        def attempt() -> bytes | None:
            client = http.client.HTTPConnection(address, timeout=60)
            headers = {"Content-Type": "application/json", "Idempotency-Key": key}
            try:
                client.request("POST", "/v1/sms/send", body, headers)
                response = client.getresponse()
                answer = response.read()
            except (OSError, http.client.HTTPException):
                return None
            finally:
                client.close()
            # 409: the first request with the key has not ended; 503: the database did not answer in time.
            assert response.status in {200, 409, 503}, answer
            return answer if response.status == 200 else None

        found: bytes = wait_for(attempt, "an answer")
        return found

    def client() -> None:
        for _ in range(REQUESTS):
            key = random.choice(KEYS)
            answer = send(key)
            with lock:
                answers[key].append(answer)

    def answered() -> int:
        with lock:
            return sum(map(len, answers.values()))

    killed = []
    with ThreadPoolExecutor(CLIENTS) as threads:
        running = [threads.submit(client) for _ in range(CLIENTS)]
        for after in (200, 1000):
            wait_for(lambda after=after: answered() >= after, f"{after} answers")
            worker = random.choice(psutil.Process(api_processes.pid(API)).children())
            worker.kill()
            killed.append(worker.pid)
        for each in running:
            each.result()
    connections.close_all()

    assert len(killed) == 2
    assert answered() == CLIENTS * REQUESTS
    assert answers.keys() == set(KEYS)
    assert all(len(set(found)) == 1 for found in answers.values())
    message_ids = {json.loads(found[0])["id"] for found in answers.values()}
    assert len(message_ids) == len(KEYS)
    assert {ids.to_text(message.id) for message in Message.objects.filter(customer_id=customer_id)} == message_ids
    assert LedgerEntry.objects.filter(customer_id=customer_id, kind="charge").count() == len(KEYS)
    assert OutboxEntry.objects.filter(customer_id=customer_id).count() == len(KEYS)
    assert Account.objects.get(customer_id=customer_id).balance == 1_000_000 - 100 * len(KEYS)
    assert not accounts_off()
