"""The settings of delivery and what follows it: workers, receipts, callbacks, routing."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from smsgateway.config.setting_field import setting


@dataclasses.dataclass(frozen=True, slots=True)
class Worker:
    title: ClassVar[str] = "Delivery worker"
    prefix: ClassVar[str] = "WORKER_"

    concurrency: int = setting(
        "Most messages that a process has given to one connection and not yet committed. After a hard kill up to this "
        "many may be sent twice.",
        default=200,
        minimum=1,
        maximum=10_000,
    )
    queue_size: int = setting(
        "Most messages of one customer and priority that wait in a process; further ones wait on Kafka.",
        default=1000,
        minimum=1,
        maximum=15_000,
    )
    max_retries: int = setting("Retries after the first try before a message fails.", default=8, minimum=0, maximum=100)
    retry_base: float = setting(
        "Delay before the first retry; it doubles with each further retry.",
        default=1.0,
        unit="seconds",
        minimum=0.01,
        maximum=3600,
    )
    retry_cap: float = setting(
        "Longest delay before a retry.", default=600.0, unit="seconds", minimum=0.01, maximum=86_400
    )
    breaker_failures: int = setting(
        "Failed submits in a row that open a connection's circuit breaker.", default=10, minimum=1, maximum=10_000
    )
    breaker_seconds: float = setting(
        "How long a circuit breaker stays open at first; the time doubles, up to 30 s, while probes fail.",
        default=1.0,
        unit="seconds",
        minimum=0.01,
        maximum=30,
    )
    outage_patience: float = setting(
        "How long messages wait in a process for a connection that is down before they go back to Kafka.",
        default=2.0,
        unit="seconds",
        minimum=0,
        maximum=3600,
    )
    drain_timeout: float = setting(
        "Longest wait for submits in flight after SIGTERM.",
        default=30.0,
        unit="seconds",
        minimum=0,
        maximum=3600,
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Receipts:
    title: ClassVar[str] = "Delivery receipts"
    prefix: ClassVar[str] = "RECEIPT_"

    wait: int = setting(
        "A submitted message becomes unknown if no receipt arrives in this time. A receipt is dropped if its submit is "
        "not known by then.",
        default=72,
        unit="hours",
        minimum=1,
        maximum=720,
    )
    match_days: int = setting(
        "A receipt that has only the operator's id is matched with messages submitted within this time.",
        default=7,
        unit="days",
        minimum=1,
        maximum=31,
    )
    trusted_proxies: int = setting(
        "Your own proxies in front of the API that append to X-Forwarded-For; 0 uses the connection's address.",
        default=0,
        minimum=0,
        maximum=10,
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Callback:
    title: ClassVar[str] = "Callbacks to customers"
    prefix: ClassVar[str] = "CALLBACK_"

    timeout: float = setting(
        "Longest wait for an endpoint's response.", default=10.0, unit="seconds", minimum=0.1, maximum=300
    )
    concurrency: int = setting("Callbacks in flight at once in a process.", default=200, minimum=1, maximum=10_000)
    per_customer: int = setting(
        "Callbacks of one customer in flight at once in a process, not counting slow ones.",
        default=10,
        minimum=1,
        maximum=1000,
    )
    per_host: int = setting(
        "Callbacks of one customer in flight at once in a process to the same endpoint or host.",
        default=10,
        minimum=1,
        maximum=1000,
    )
    slow_after: float = setting(
        "A call that takes longer is slow and no longer counts against CALLBACK_PER_CUSTOMER and CALLBACK_PER_HOST.",
        default=1.0,
        unit="seconds",
        minimum=0.01,
        maximum=300,
    )
    slow_per_customer: int = setting(
        "Most slow calls of one customer at once in a process; further ones count as usual.",
        default=50,
        minimum=0,
        maximum=10_000,
    )
    pause_after: int = setting(
        "Failed calls in a row after which an endpoint or host is paused.", default=10, minimum=1, maximum=10_000
    )
    pause_delays: list[str] = setting(
        "Lengths of successive pauses, comma separated. After each pause one call probes the endpoint; the last length "
        "repeats.",
        default=["30", "60", "120", "300", "600"],
        unit="seconds",
        pattern=r"[0-9]{1,7}(\.[0-9]+)?",
    )
    mail_after: float = setting(
        "A customer gets an e-mail when its endpoint is paused and has failed for this long.",
        default=900.0,
        unit="seconds",
        minimum=0,
        maximum=86_400,
    )
    retry_delays: list[str] = setting(
        "Delays between tries of a callback, comma separated; it fails when the try after the last delay fails.",
        default=["5", "30", "120", "600", "3600", "10800", "21600", "43200", "86400", "86400"],
        unit="seconds",
        pattern=r"[0-9]{1,7}(\.[0-9]+)?",
    )
    ports: list[str] = setting(
        "Ports that endpoints may have, comma separated.",
        default=["443", "8443"],
        unit="TCP port",
        pattern=r"[1-9][0-9]{0,4}",
    )
    allow_private: str = setting(
        "true, for development: endpoints may use http, any port, and addresses in the gateway's own network. In "
        "production and staging no process starts with true; set even-deployed to allow it there.",
        default="false",
        choices=("true", "false", "even-deployed"),
    )
    drain_timeout: float = setting(
        "Longest wait for callbacks in flight after SIGTERM.",
        default=30.0,
        unit="seconds",
        minimum=0,
        maximum=3600,
    )
    low_balance_check: float = setting(
        "How often balances are compared with their thresholds, and so the longest delay of a low-balance notice.",
        default=10.0,
        unit="seconds",
        minimum=0.05,
        maximum=3600,
    )
    kept_days: int = setting(
        "manage.py purge deletes finished callbacks older than this.", default=14, unit="days", minimum=1, maximum=3660
    )

    @property
    def private(self) -> bool:
        """Whether endpoints may have addresses in the gateway's own network."""
        return self.allow_private != "false"


@dataclasses.dataclass(frozen=True, slots=True)
class Routing:
    title: ClassVar[str] = "Routing"
    prefix: ClassVar[str] = "OPERATOR_"

    default: str = setting(
        "Operator for numbers that belong to no configured operator.",
        default="mci",
    )
