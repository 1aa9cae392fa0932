"""Measures how many messages per second one delivery worker submits, and the CPU time per message of each process.

A topic of its own is filled before the worker starts. Over HTTP the operator simulator answers after 50 ms; over SMPP a
sink answers at once, on one connection. The figures are the messages per second between the first tenth and the last
tenth, and the CPU microseconds per message of the worker, the simulator (or sink) and the broker in the same time.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

from apps.devservices.gateway import DELIVER, OPERATOR_SIMULATOR, Gateway
from apps.devservices.processes import PROJECT_ROOT, ServiceError, wait_until
from apps.sms import events
from scripts import smsc_sink
from smsgateway import config, ids
from smsgateway.kafka import client as kafka

CUSTOMERS = 500
ANSWER_MS = 50
SMPP = "smsc"
WINDOW = 100
# The numbers that are routed to each operator without a table. That of SMPP has no carrier: it goes to the default.
RECIPIENTS = {"mci": "+989121234567", "irancell": "+989351234567", SMPP: "+4915112345678"}


def deliver(directory: Path, environ: Mapping[str, str], *, messages: int) -> dict[str, object]:
    """Run once over HTTP; return the figures. Raises ServiceError unless every message was submitted once."""
    own = _topics(environ) | {"WORKER_CONCURRENCY": "400"}
    options = ["--answer-delay", str(ANSWER_MS), str(ANSWER_MS), "--no-receipt-rate", "1"]
    with Gateway(directory=directory, environ=own, simulator_options=options) as gateway:
        gateway.start(OPERATOR_SIMULATOR)
        gateway.wait_ready()

        def taken() -> int:
            with urllib.request.urlopen(f"{gateway.simulator_url}/control/summary") as answer:
                return sum(int(operator["submits"]) for operator in json.load(answer).values())

        simulator = psutil.Process(gateway.pid(OPERATOR_SIMULATOR))
        figures = _measure(gateway, own, messages, operators=("mci", "irancell"), taken=taken, simulator=simulator)
    return {"bench": "deliver", "operator": f"http, answers after {ANSWER_MS} ms"} | figures


def deliver_smpp(directory: Path, environ: Mapping[str, str], *, messages: int) -> dict[str, object]:
    """Run once over one SMPP connection whose SMSC answers at once; return the figures. Raises ServiceError as
    above."""
    with smsc_sink.running() as sink:
        own = _topics(environ) | {
            "WORKER_CONCURRENCY": "400",
            "OPERATORS_SMPP": SMPP,
            "OPERATOR_DEFAULT": SMPP,
            f"OPERATOR_{SMPP.upper()}_HOST": "127.0.0.1",
            f"OPERATOR_{SMPP.upper()}_PORT": str(sink.port),
            f"OPERATOR_{SMPP.upper()}_SYSTEM_ID": "bench",
            f"OPERATOR_{SMPP.upper()}_PASSWORD": "bench",
            f"OPERATOR_{SMPP.upper()}_IN_FLIGHT": str(WINDOW),
        }
        with Gateway(directory=directory, environ=own) as gateway:
            figures = _measure(
                gateway, own, messages, operators=(SMPP,), taken=lambda: sink.taken, simulator=psutil.Process(sink.pid)
            )
    return {"bench": "deliver", "operator": f"smpp, window {WINDOW}, answers at once"} | figures


def _topics(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment with new topics and consumer groups."""
    topic = f"bench.{uuid.uuid4().hex[:8]}"
    return {
        **environ,
        "KAFKA_TOPIC_DELIVERY": topic,
        "KAFKA_TOPIC_STATUS": f"{topic}.status",
        "KAFKA_CONSUMER_GROUP_PREFIX": topic,
    }


def _measure(
    gateway: Gateway,
    environ: Mapping[str, str],
    messages: int,
    *,
    operators: Sequence[str],
    taken: Callable[[], int],
    simulator: psutil.Process,
) -> dict[str, object]:
    _fill(environ, messages, operators)

    def until(count: int) -> None:
        def reached() -> bool:
            gateway.check()
            return taken() >= count

        if not wait_until(reached, timeout=600):
            raise ServiceError(f"{taken()} messages were submitted, not {count}.")

    gateway.start(DELIVER)
    worker = psutil.Process(gateway.pid(DELIVER))
    watched = {"deliver": worker, "simulator": simulator}
    if broker := _broker(environ):
        watched["kafka"] = broker
    until(messages // 10)
    started, first, spent = time.monotonic(), taken(), {name: _cpu(each) for name, each in watched.items()}
    until(messages)
    seconds, count = time.monotonic() - started, messages - first
    cost = {name: (_cpu(each) - spent[name]) * 1e6 / count for name, each in watched.items()}
    if taken() != messages:
        raise ServiceError(f"{taken()} submits of {messages} messages.")
    rss = worker.memory_info().rss
    gateway.check()
    return {
        "value": round(count / seconds),
        "unit": "messages/s",
        "messages": messages,
        "cpu_us_per_message": {name: round(value) for name, value in cost.items()},
        "worker_rss_mb": round(rss / 1e6),
        "cpus": os.cpu_count(),
    }


def create_topics(environ: Mapping[str, str]) -> None:
    """Run `manage.py create_kafka_topics` with these settings."""
    subprocess.run(
        [sys.executable, "manage.py", "create_kafka_topics"],
        cwd=PROJECT_ROOT,
        env=dict(environ),
        check=True,
        stdout=subprocess.DEVNULL,
    )


def _fill(environ: Mapping[str, str], messages: int, operators: Sequence[str]) -> None:
    loaded, _ = config.load(environ)
    create_topics(environ)
    now = time.time_ns() // 1_000_000
    records = []
    for number in range(messages):
        operator = operators[number % len(operators)]
        customer = f"{number % CUSTOMERS:026d}"
        event = events.DeliveryRequested(
            message_id=ids.to_text(ids.new_id()),
            customer_id=customer,
            accepted_at=now,
            expires_at=now + 3_600_000,
            operator=operator,
            to=RECIPIENTS[operator],
            sender="Bench",
            text="A message of ordinary length, as shops send them.",
            encoding="gsm7",
            segments=1,
            cost=100,
            segments_per_second=100_000,
        )
        records.append(kafka.Record(loaded.kafka.topic_delivery, customer.encode(), events.encode(event), []))
    kafka.publish_and_wait(kafka.producer(loaded.kafka, client_id="bench"), records)


def _broker(environ: Mapping[str, str]) -> psutil.Process | None:
    """The process that listens at the brokers' address, if this machine shows it."""
    port = int(environ["KAFKA_BROKERS"].split(",")[0].rpartition(":")[2])
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
            return psutil.Process(connection.pid)
    return None


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system
