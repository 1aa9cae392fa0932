"""The pages that say how to do something, done literally: their ```sh blocks, one after the other."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Producer
from django.conf import settings

from apps.customers.keys import key_create
from apps.customers.models import ApiKey
from apps.devservices.gateway import SETTLE, Gateway
from apps.sms.models import Message
from conftest import MakeCustomer
from smsgateway import ids
from tests.flow.conftest import ROOT, wait_for
from tests.flow.test_alerts import value
from tests.operations.test_docs import shell_blocks

pytestmark = [pytest.mark.flow, pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]

Follow = Callable[..., str]


@pytest.fixture
def follow(gateway: Gateway) -> Follow:
    """Run the blocks of a page in one shell, with these variables; lines that set them on the page are left out."""

    def follow(page: str, **variables: str) -> str:
        variables = {"API": gateway.api_url, **variables}
        blocks = [
            re.sub(rf"^({'|'.join(variables)})=.*$", "", block, flags=re.MULTILINE)
            for block in shell_blocks(ROOT / "docs" / page)
            if not block.startswith("make ")
        ]
        assert blocks
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-aeuo", "pipefail", "-c", "\n".join(blocks)],
            cwd=ROOT, env=gateway._environ | variables | {"PATH": path}, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return follow


def test_the_pages_work_as_they_are_written(gateway: Gateway, follow: Follow, make_customer: MakeCustomer) -> None:
    customer = make_customer(balance=10_000)
    name = ids.to_text(customer)

    told = follow("quickstart.md", CUSTOMER=name)
    assert '"status":"accepted"' in told.replace(" ", "")
    assert Message.objects.filter(customer_id=customer).count() == 2, "the repeated one was sent once"

    told = follow("howto/top-up.md", CUSTOMER=name)
    assert '"balance":509800' in told.replace(" ", "")

    old, _ = key_create(customer_id=customer)
    told = follow("howto/rotate-keys.md", CUSTOMER=name, OLD_PREFIX=old.prefix)
    assert "sgw_" in told
    assert set(ApiKey.objects.filter(customer=customer, revoked_at=None)) == set(
        ApiKey.objects.filter(customer=customer)
    ) - {old}

    assert "no issues" in follow("howto/add-an-operator.md")

    topic = gateway._environ["KAFKA_TOPIC_STATUS"]
    producer = Producer({"bootstrap.servers": ",".join(settings.CONFIG.kafka.brokers)})
    producer.produce(topic, b"no event", b"key")
    assert producer.flush(30) == 0
    wait_for(lambda: value(gateway, SETTLE, "events_unreadable_total", topic=topic) == 1, "a dead letter")
    assert re.search(r"^[12] replayed\.$", follow("howto/replay-dead-letters.md"), re.MULTILINE)
