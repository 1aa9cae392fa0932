"""Operators and the processes that serve them, as reported by the workers' metrics pages."""

from __future__ import annotations

from typing import Any, Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString

from apps.console import cells
from apps.console.access import console_page, page
from apps.console.pages.start import gateway_state, processes
from apps.console.state import queues
from apps.console.state.workers import Worker
from apps.sms.operators import registry
from apps.sms.operators.base import Operator

# The metrics that show how busy a process is.
_LOADS: Final = {
    "relay": (("outbox_published_total", "published"),),
    "deliver": (
        ("delivery_queued_messages", "queued"),
        ("delivery_in_flight_submits", "in flight"),
        ("delivery_delayed_messages", "delayed"),
    ),
    "settle": (("settle_events_total", "settled"), ("refunds_total", "refunded")),
    "ingest": (("ingest_events_total", "ingested"),),
    "callbacks": (("callbacks_in_flight", "in flight"), ("callback_attempts_total", "tries")),
}


@console_page("console.view_gateway")
def operators_page(request: HttpRequest) -> HttpResponse:
    """Each connection: its limits, its circuit breaker, and its submits since the workers started."""
    found = gateway_state()
    serving = [worker for worker in found["workers"].value or [] if worker.name == "deliver" and not worker.error]
    config = settings.CONFIG
    rows = []
    for name, operator in sorted(registry.shared_operators(config).items()):
        protocol = "SMPP" if name in config.smpp_operators else "HTTP"
        rows.append([name, protocol, _pace(operator), *_health(name, protocol, serving)])
    workers = [
        [
            worker.name,
            cells.code(worker.address),
            cells.label("down") if worker.error else cells.label("ok"),
            worker.error or _load(worker),
        ]
        for worker in found["workers"].value or []
    ]
    return page(
        request,
        "console/operators.html",
        title="Operators and processes",
        operators={
            "headers": ["operator", "protocol", "limits", "circuit breaker", "submits", "throttled", "mean response"],
            "rows": rows,
        },
        reporting=len(serving),
        processes=processes(found["lags"], found["workers"], queues.outbox()),
        workers={"headers": ["process", "address", "state", "report"], "rows": workers},
        workers_error=found["workers"].error,
    )


def _pace(operator: Operator) -> str:
    limits = operator.limits
    pace = f"{limits.segments_per_second:,g} segments/s" if limits.segments_per_second else "no rate limit"
    return f"{pace}, {limits.in_flight:,} in flight"


def _health(name: str, protocol: str, serving: list[Worker]) -> list[str | SafeString]:
    if not serving:
        return [cells.NOTHING] * 4
    opened = sum(bool(worker.value("delivery_circuit_open", operator=name)) for worker in serving)
    unbound = [worker for worker in serving if worker.value("smpp_bound", operator=name) == 0.0]
    state = "open" if opened else "closed"
    circuit = cells.label("unbound" if protocol == "SMPP" and unbound else state)
    outcomes: dict[str, float] = {}
    for worker in serving:
        for labels, value in worker.samples.get("delivery_submits_total", {}).items():
            label = dict(labels)
            if label.get("operator") == name:
                outcomes[label["outcome"]] = outcomes.get(label["outcome"], 0) + value
    submits = ", ".join(f"{count:,.0f} {outcome}" for outcome, count in sorted(outcomes.items())) or "none yet"
    throttled = sum(worker.total("delivery_throttled_total", operator=name) for worker in serving)
    seconds = sum(worker.total("delivery_submit_duration_seconds_sum", operator=name) for worker in serving)
    count = sum(worker.total("delivery_submit_duration_seconds_count", operator=name) for worker in serving)
    mean = f"{seconds / count * 1000:,.0f} ms" if count else "–"
    return [circuit, submits, f"{throttled:,.0f}", mean]


def _load(worker: Worker) -> Any:
    loads = [f"{worker.total(metric):,.0f} {what}" for metric, what in _LOADS.get(worker.name, ())]
    return ", ".join(loads) or cells.NOTHING
