"""The settings of those who watch the gateway: metrics, the watch process, traces."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from smsgateway.config.declare import setting


@dataclasses.dataclass(frozen=True, slots=True)
class Metrics:
    title: ClassVar[str] = "Metrics"
    prefix: ClassVar[str] = "METRICS_"

    customers: int = setting(
        "So many customers, those with the most ledger entries, have a label of their own in metrics; the rest are "
        "`other`. 0: all are.",
        default=20,
        minimum=0,
        maximum=1000,
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Watch:
    title: ClassVar[str] = "The watch process"
    prefix: ClassVar[str] = "WATCH_"

    interval: float = setting(
        "How often it looks at the outbox, the consumer groups and the partitions.",
        default=10.0,
        unit="seconds",
        minimum=0.1,
        maximum=3600,
    )
    ledger_interval: float = setting(
        "How often it compares every account with its newest ledger entry.",
        default=900.0,
        unit="seconds",
        minimum=0.1,
        maximum=86_400,
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Tracing:
    title: ClassVar[str] = "Traces (OpenTelemetry, optional)"
    prefix: ClassVar[str] = "TRACING_"

    endpoint: str = setting(
        "Where spans go, OTLP over HTTP: http://collector:4318/v1/traces; empty: no traces, and no cost.",
        default="",
        pattern=r"(https?://.+)?",
    )
    ratio: float = setting(
        "Share of messages that are traced; every process decides alike.", default=1.0, minimum=0, maximum=1
    )
