"""The settings of the reporting service and of reconciliation."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from smsgateway.config.setting_field import setting


@dataclasses.dataclass(frozen=True, slots=True)
class Reporting:
    title: ClassVar[str] = "Reporting API"
    prefix: ClassVar[str] = "REPORTING_"

    query_timeout: int = setting(
        "Longest run of a statistics query; then it is stopped and answered with 503 query_too_slow.",
        default=10,
        unit="seconds",
        minimum=1,
        maximum=3600,
    )
    export_timeout: int = setting(
        "An export is broken off if its next part takes longer, including the time of a slow reader.",
        default=600,
        unit="seconds",
        minimum=1,
        maximum=86_400,
    )
    exports_at_once: int = setting(
        "Exports that a process writes at once, each in one of its HTTP_THREADS; a further one is answered with 503 "
        "too_many_exports.",
        default=1,
        minimum=1,
        maximum=64,
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Reconcile:
    title: ClassVar[str] = "Reconciliation"
    prefix: ClassVar[str] = "RECONCILE_"

    days: int = setting(
        "Days that manage.py reconcile compares, including today.", default=3, unit="days", minimum=1, maximum=400
    )
    in_flight: int = setting(
        "Events newer than this may still be on their way to ClickHouse, so they are not counted as differences.",
        default=300,
        unit="seconds",
        minimum=0,
        maximum=86_400,
    )
    stuck_after: int = setting(
        "A message without a status this long after it was accepted (or due) counts as stuck.",
        default=3600,
        unit="seconds",
        minimum=0,
        maximum=2_592_000,
    )
