"""The settings of monitoring: metrics, the watch process, traces."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from smsgateway.config.setting_field import setting


@dataclasses.dataclass(frozen=True, slots=True)
class Metrics:
    title: ClassVar[str] = "Metrics"
    prefix: ClassVar[str] = "METRICS_"

    customers: int = setting(
        "Number of customers with a metrics label of their own: those with the most ledger entries. All others share "
        "the label `other`.",
        default=20,
        minimum=0,
        maximum=1000,
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Watch:
    title: ClassVar[str] = "The watch process"
    prefix: ClassVar[str] = "WATCH_"

    interval: float = setting(
        "How often the watch process checks the outbox, the consumer groups and the partitions.",
        default=10.0,
        unit="seconds",
        minimum=0.1,
        maximum=3600,
    )
    ledger_interval: float = setting(
        "How often the watch process compares every account with its newest ledger entry.",
        default=900.0,
        unit="seconds",
        minimum=0.1,
        maximum=86_400,
    )
    synchronous_standbys: int = setting(
        "How many synchronous standbys PostgreSQL is to have, so that no confirmed commit is lost with its machine. "
        "Fewer raise the alert ReplicationOff; 0: none is promised.",
        default=0,
        minimum=0,
        maximum=10,
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Tracing:
    title: ClassVar[str] = "Traces (OpenTelemetry, optional)"
    prefix: ClassVar[str] = "TRACING_"

    endpoint: str = setting(
        "OTLP/HTTP endpoint that receives spans: http://collector:4318/v1/traces; empty: no traces, at no cost.",
        default="",
        pattern=r"(https?://.+)?",
    )
    ratio: float = setting(
        "Share of messages that are traced; all processes choose the same messages.", default=1.0, minimum=0, maximum=1
    )
