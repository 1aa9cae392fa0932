"""Metrics: labels are bounded, and the processes of gunicorn count as one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase
from rest_framework.test import APIClient

from apps.balance.models import Account
from apps.balance.services import account_top_up
from apps.sms.accept import metric_labels as customer_labels
from apps.sms.accept.metric_labels import customer_label
from smsgateway import ids, metrics
from smsgateway.ttl_cache import Remembered
from tests.support.customers import MakeCustomer

# Each has few values: names of ours, of settings or of a protocol. `customer` is bounded by METRICS_CUSTOMERS.
BOUNDED = {
    "method", "route", "status", "code", "operator", "customer", "kind", "outcome", "error", "reason", "type", "topic",
    "process", "table", "part", "partition", "interval", "job", "act", "what", "format", "end", "pool",
}  # fmt: skip


def declared() -> Iterator[MetricWrapperBase]:
    yield from (metric for metric in vars(metrics).values() if isinstance(metric, MetricWrapperBase))


def test_every_label_is_one_of_those_that_have_few_values() -> None:
    assert {label for metric in declared() for label in metric._labelnames} <= BOUNDED


def test_every_metric_has_a_meaning_and_a_unique_name() -> None:
    names = [metric._name for metric in declared()]
    assert len(names) == len(set(names)) > 50
    assert [metric._name for metric in declared() if len(metric._documentation) < 10] == []


def test_an_invented_http_method_creates_no_series(db: None, api: APIClient) -> None:
    api.generic("BREW", "/v1/openapi.json")
    methods = {sample.labels["method"] for family in metrics.HTTP_REQUESTS.collect() for sample in family.samples}
    assert "other" in methods
    assert "BREW" not in methods


@pytest.fixture
def _nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(customer_labels, "_labels", {})
    monkeypatch.setattr(customer_labels, "_busiest", Remembered(customer_labels._busiest._load))


@pytest.mark.usefixtures("_nothing_remembered")
def test_only_the_busiest_customers_have_a_label_of_their_own(make_customer: MakeCustomer) -> None:
    quiet, busy, busiest = make_customer(), make_customer(), make_customer()
    for customer, entries in ((busy, 3), (busiest, 9)):
        for number in range(entries):
            account_top_up(customer_id=customer, amount=1, reference=f"more {number}")
    assert Account.objects.get(customer_id=busiest).entries > Account.objects.get(customer_id=busy).entries

    assert customer_label(busiest, limit=2) == ids.to_text(busiest)
    assert customer_label(busy, limit=2) == ids.to_text(busy)
    assert customer_label(quiet, limit=2) == "other"
    assert customer_label(busiest, limit=0) == "other"


@pytest.mark.usefixtures("_nothing_remembered")
def test_labels_stay_few_when_other_customers_become_the_busiest(
    make_customer: MakeCustomer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(customer_labels, "_REFRESH_SECONDS", 0.0)
    customers = [make_customer() for _ in range(6)]
    labels = set()
    for round_, customer in enumerate(customers, start=1):
        for number in range(10 * round_):
            account_top_up(customer_id=customer, amount=1, reference=f"more {number}")
        labels.add(customer_label(customer, limit=1))
    assert len(labels) == 3  # two of their own, and other
    assert customer_label(customers[0], limit=1) == ids.to_text(customers[0]), "who has a label keeps it"


def test_an_accepted_message_counts_for_its_customer_and_operator(
    make_customer: MakeCustomer, post: Callable[..., Any], settings: Any
) -> None:
    before = REGISTRY.get_sample_value("sms_accepted_total", {"operator": "mci", "customer": "other"}) or 0
    customer = make_customer()
    settings.CONFIG = _without_labels(settings.CONFIG)
    body = {"customer_id": ids.to_text(customer), "to": "09121234567", "text": "hi"}
    assert post("/v1/sms/send", body).status_code == 200
    assert REGISTRY.get_sample_value("sms_accepted_total", {"operator": "mci", "customer": "other"}) == before + 1


def _without_labels(config: Any) -> Any:
    import dataclasses

    return dataclasses.replace(config, metrics=dataclasses.replace(config.metrics, customers=0))


_IN_EACH_PROCESS = """
import os, sys
from smsgateway import metrics
metrics.HTTP_PROBLEMS.labels("code").inc()
metrics.CALLBACKS_PENDING.set(int(sys.argv[1]))
metrics.BALANCE_DEDUCTION.observe(0.004)
"""
_TOGETHER = """
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
registry = CollectorRegistry()
MultiProcessCollector(registry)
print(generate_latest(registry).decode())
"""


def test_gunicorns_processes_are_counted_together(tmp_path: Path) -> None:
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    running = [
        subprocess.Popen([sys.executable, "-c", f"{_IN_EACH_PROCESS}\nprint(1, flush=True); sys.stdin.read()", str(n)],
                         env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for n in (3, 5)
    ]  # fmt: skip
    try:
        for process in running:
            assert process.stdout is not None
            assert process.stdout.readline() == b"1\n"
        exposed = subprocess.run(
            [sys.executable, "-c", _TOGETHER], env=environment, capture_output=True, text=True, check=True
        ).stdout
    finally:
        for process in running:
            process.communicate()
    assert 'http_problems_total{code="code"} 2.0' in exposed
    assert "callbacks_pending 5.0" in exposed
    assert 'balance_deduction_duration_seconds_bucket{le="0.005"} 2.0' in exposed
    assert "pid=" not in exposed, "a label that grows with every restart"
