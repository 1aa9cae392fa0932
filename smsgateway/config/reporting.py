"""The settings of what tells and checks: the reporting service and the reconciliation."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from smsgateway.config.declare import setting


@dataclasses.dataclass(frozen=True, slots=True)
class Reporting:
    title: ClassVar[str] = "Reporting API"
    prefix: ClassVar[str] = "REPORTING_"

    query_timeout: int = setting(
        "Statistics that take longer are stopped: 503, query_too_slow.",
        default=10,
        unit="seconds",
        minimum=1,
        maximum=3600,
    )
    export_timeout: int = setting(
        "An export whose next part takes longer is broken off; a slow reader's time counts.",
        default=600,
        unit="seconds",
        minimum=1,
        maximum=86_400,
    )
    exports_at_once: int = setting(
        "Exports that a process writes at once, each in one of its HTTP_THREADS; one more gets 503, too_many_exports.",
        default=1,
        minimum=1,
        maximum=64,
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Reconcile:
    title: ClassVar[str] = "Reconciliation"
    prefix: ClassVar[str] = "RECONCILE_"

    days: int = setting(
        "How many days back manage.py reconcile looks, today included.", default=3, unit="days", minimum=1, maximum=400
    )
    in_flight: int = setting(
        "What happened within so long may still be on its way to ClickHouse and is no difference.",
        default=300,
        unit="seconds",
        minimum=0,
        maximum=86_400,
    )
    stuck_after: int = setting(
        "A message accepted (or due) so long ago that has reached no status is looked into.",
        default=3600,
        unit="seconds",
        minimum=0,
        maximum=2_592_000,
    )
