"""Which operators take no messages, as the delivery workers report on their metrics pages."""

from __future__ import annotations

from collections.abc import Iterable

from apps.console.state.workers import Worker


def operators_down(workers: Iterable[Worker]) -> dict[str, str]:
    """By name: `open` if a worker's circuit breaker is open, `unbound` if a worker's SMPP connection is not bound."""
    found: dict[str, str] = {}
    for worker in workers:
        if worker.name != "deliver" or worker.error:
            continue
        for metric, down, state in (("delivery_circuit_open", 1.0, "open"), ("smpp_bound", 0.0, "unbound")):
            for labels, value in worker.samples.get(metric, {}).items():
                operator = dict(labels).get("operator")
                if operator and value == down:
                    found[operator] = state
    return found
