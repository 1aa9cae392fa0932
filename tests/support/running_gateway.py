"""Ask a running gateway: its API, its metrics, its statistics, and what the operators have seen."""

from __future__ import annotations

import datetime as dt
import http.client
import json
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families

from apps.devservices.gateway import API, Gateway
from apps.sms import statuses
from apps.sms.models import OutboxEntry, StatusEntry
from tests.support.waiting import WAIT_SECONDS


def with_api(gateway: Gateway) -> Gateway:
    """The gateway with its API ready: started unless an earlier test started it and left it running."""
    if not gateway.alive(API):
        gateway.start(API)
    gateway.wait_ready(API, timeout=WAIT_SECONDS)
    return gateway


def call(method: str, url: str, body: Any = None) -> tuple[int, Any]:
    """One HTTP request with a JSON body: the status and the JSON answer."""
    parts = urlsplit(url)
    client = http.client.HTTPConnection(parts.netloc, timeout=60)
    try:
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        payload = None if body is None else json.dumps(body)
        client.request(method, path, payload, {"Content-Type": "application/json"})
        response = client.getresponse()
        return response.status, json.loads(response.read())
    finally:
        client.close()


def metric_value(gateway: Gateway, process: str, name: str, /, **labels: str) -> float:
    """The sum of a metric's series with these labels, as Prometheus would get it from the process; or 0."""
    url = f"http://127.0.0.1:{gateway._port(process)}/metrics"
    with urllib.request.urlopen(url) as answer:
        text = answer.read().decode()
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def all_final(count: int) -> bool:
    """Every message has a final status, and every refund is told to analytics."""
    final = StatusEntry.objects.filter(status__in=statuses.FINAL).values("message_id").distinct().count()
    return final == count and not OutboxEntry.objects.exists()


def totals(gateway: Gateway, customer_id: str, interval: str) -> dict[str, int]:
    today = dt.datetime.now(tz=dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    begin, end = today - dt.timedelta(days=1), today + dt.timedelta(days=1)
    query = f"customer_id={customer_id}&from={begin:%Y-%m-%dT%H:%M:%SZ}&to={end:%Y-%m-%dT%H:%M:%SZ}"
    code, answer = call("GET", f"{gateway.reporting_url}/v1/stats/{interval}?{query}")
    assert code == 200, answer
    found: dict[str, int] = answer["totals"]
    return found


def seen_by_operators(gateway: Gateway) -> dict[str, dict[str, int]]:
    code, answer = call("GET", f"{gateway.simulator_url}/control/summary")
    assert code == 200
    found: dict[str, dict[str, int]] = answer
    return found
