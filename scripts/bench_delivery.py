"""How many messages a second one delivery worker submits, and what each process's share of a message costs.

A topic of its own is filled before the worker starts; the operator simulator answers after 50 ms over HTTP. Told are
the messages a second between the first tenth and the last one, and the CPU microseconds a message of the worker, the
simulator and the broker over the same time.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Mapping
from pathlib import Path

import psutil

from apps.devservices.gateway import DELIVER, OPERATOR_SIMULATOR, Gateway
from apps.devservices.processes import PROJECT_ROOT, ServiceError, wait_until
from apps.sms import events
from smsgateway import config, ids, kafka

CUSTOMERS = 500
ANSWER_MS = 50


def deliver(directory: Path, environ: Mapping[str, str], *, messages: int) -> dict[str, object]:
    """One run; its figures. Raises ServiceError if not every message was submitted once."""
    topic = f"bench.{uuid.uuid4().hex[:8]}"
    own = {
        **environ,
        "KAFKA_TOPIC_DELIVERY": topic,
        "KAFKA_TOPIC_STATUS": f"{topic}.status",
        "KAFKA_CONSUMER_GROUP_PREFIX": topic,
        "WORKER_CONCURRENCY": "400",
    }
    options = ["--answer-delay", str(ANSWER_MS), str(ANSWER_MS), "--no-receipt-rate", "1"]
    with Gateway(directory=directory, environ=own, simulator_options=options) as gateway:
        gateway.start(OPERATOR_SIMULATOR)
        gateway.wait_ready()
        _fill(own, messages)
        gateway.start(DELIVER)
        watched = {"deliver": _process(gateway, DELIVER), "simulator": _process(gateway, OPERATOR_SIMULATOR)}
        broker = _broker(environ)
        if broker:
            watched["kafka"] = broker
        _until(gateway, messages // 10)
        started, first, spent = time.monotonic(), _taken(gateway), {name: _cpu(each) for name, each in watched.items()}
        _until(gateway, messages)
        seconds, count = time.monotonic() - started, messages - first
        cost = {name: (_cpu(each) - spent[name]) * 1e6 / count for name, each in watched.items()}
        if (taken := _taken(gateway)) != messages:
            raise ServiceError(f"{taken} submits of {messages} messages.")
        rss = watched["deliver"].memory_info().rss
        gateway.check()
    return {
        "bench": "deliver",
        "operator": f"http, answers after {ANSWER_MS} ms",
        "value": round(count / seconds),
        "unit": "messages/s",
        "messages": messages,
        "cpu_us_per_message": {name: round(value) for name, value in cost.items()},
        "worker_rss_mb": round(rss / 1e6),
        "cpus": os.cpu_count(),
    }


def create_topics(environ: Mapping[str, str]) -> None:
    """`manage.py create_kafka_topics` with these settings."""
    subprocess.run(
        [sys.executable, "manage.py", "create_kafka_topics"],
        cwd=PROJECT_ROOT,
        env=dict(environ),
        check=True,
        stdout=subprocess.DEVNULL,
    )


def _fill(environ: Mapping[str, str], messages: int) -> None:
    loaded, _ = config.load(environ)
    create_topics(environ)
    now = time.time_ns() // 1_000_000
    records = []
    for number in range(messages):
        customer = f"{number % CUSTOMERS:026d}"
        event = events.DeliveryRequested(
            message_id=ids.to_text(ids.new_id()),
            customer_id=customer,
            accepted_at=now,
            expires_at=now + 3_600_000,
            operator="mci" if number % 2 else "irancell",
            to="+989121234567",
            sender="Bench",
            text="A message of ordinary length, as shops send them.",
            encoding="gsm7",
            segments=1,
            cost=100,
            segments_per_second=100_000,
        )
        records.append(kafka.Record(loaded.kafka.topic_delivery, customer.encode(), events.encode(event), []))
    kafka.publish_and_wait(kafka.producer(loaded.kafka, client_id="bench"), records)


def _taken(gateway: Gateway) -> int:
    with urllib.request.urlopen(f"{gateway.simulator_url}/control/summary") as answer:
        return sum(int(operator["submits"]) for operator in json.load(answer).values())


def _until(gateway: Gateway, count: int) -> None:
    def reached() -> bool:
        gateway.check()
        return _taken(gateway) >= count

    if not wait_until(reached, timeout=600):
        raise ServiceError(f"{_taken(gateway)} messages were submitted, not {count}.")


def _process(gateway: Gateway, name: str) -> psutil.Process:
    return psutil.Process(gateway.pid(name))


def _broker(environ: Mapping[str, str]) -> psutil.Process | None:
    """The process that listens where the brokers are, if this machine shows it."""
    port = int(environ["KAFKA_BROKERS"].split(",")[0].rpartition(":")[2])
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
            return psutil.Process(connection.pid)
    return None


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system
