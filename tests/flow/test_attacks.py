"""While an attack stands, another customer's sends and the health checks are answered, and no process is replaced.

The figures are measured by `python -m scripts.attacks`; here only conditions are asserted.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import psutil
import pytest
from django.db.models import Sum

from apps.balance.models import Account
from apps.devservices.gateway import API, Gateway
from apps.sms.models import Message
from scripts.attacks.__main__ import ATTACKS
from smsgateway import ids
from tests.support.customers import MakeCustomer
from tests.support.database import database_url
from tests.support.running_gateway import call
from tests.support.tools import ROOT
from tests.support.waiting import WAIT_SECONDS, wait_for

pytestmark = [pytest.mark.flow, pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]

BALANCE = 10**12
WORKERS = 2
SENDS = 30


@pytest.fixture
def environment() -> dict[str, str]:
    """No limit ends an attack: the rate limit is high, and a held account stays held."""
    return os.environ | {
        "DATABASE_URL": database_url(),
        "DATABASE_LOCK_TIMEOUT": "600000",
        "DATABASE_STATEMENT_TIMEOUT": "600000",
        "API_MESSAGES_PER_MINUTE": "1000000000",
        "LOG_LEVEL": "warning",
    }


@pytest.fixture
def served(transactional_db: None, tmp_path: Path, environment: dict[str, str]) -> Iterator[Gateway]:
    """The API alone, in two processes."""
    with Gateway(directory=tmp_path, environ=environment, workers=WORKERS) as running:
        running.start(API)
        running.wait_ready(API, timeout=WAIT_SECONDS)
        yield running


@contextmanager
def attack(name: str, url: str, customer_id: UUID, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """The attack, in a process of its own; the block begins when it stands."""
    command = [sys.executable, "-m", "scripts.attacks", name, url, "--attacker", ids.to_text(customer_id), "--hold"]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stdout.readline() == "standing\n"
            yield process
            process.stdin.close()
            json.loads(process.stdout.read())
        finally:
            process.kill()


def workers(gateway: Gateway) -> set[int]:
    return {child.pid for child in psutil.Process(gateway.pid(API)).children()}


@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_another_customer_is_served_while_an_attack_stands(
    name: str, served: Gateway, make_customer: MakeCustomer, environment: dict[str, str]
) -> None:
    attacker, other = make_customer(balance=BALANCE), make_customer(balance=BALANCE)
    message = {"customer_id": ids.to_text(other), "to": "09121234567", "text": "hi"}
    at_first = wait_for(lambda: found if len(found := workers(served)) == WORKERS else None, "both processes to start")
    with attack(name, served.api_url, attacker, environment) as attacking:
        for _ in range(SENDS):
            assert call("POST", f"{served.api_url}/v1/sms/send", message)[0] == 200
            assert call("GET", f"{served.api_url}/healthz")[0] == 200
        assert attacking.poll() is None
        assert workers(served) == at_first
    served.stop(API)
    assert Message.objects.filter(customer_id=other).count() == SENDS
    for customer_id in (attacker, other):
        paid = Message.objects.filter(customer_id=customer_id).aggregate(cost=Sum("cost", default=0))["cost"]
        assert Account.objects.get(customer_id=customer_id).balance == BALANCE - paid
