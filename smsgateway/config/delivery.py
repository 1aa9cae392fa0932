"""The settings of delivery and what follows it: workers, receipts, callbacks, routing."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from smsgateway.config.declare import setting


@dataclasses.dataclass(frozen=True, slots=True)
class Worker:
    title: ClassVar[str] = "Delivery worker"
    prefix: ClassVar[str] = "WORKER_"

    concurrency: int = setting(
        "Messages that a process may have between a connection's operator and the commit; as many may come twice after "
        "a hard kill.",
        default=200,
        minimum=1,
        maximum=10_000,
    )
    queue_size: int = setting(
        "Messages of one priority a customer may have waiting in a process; more wait on Kafka.",
        default=1000,
        minimum=1,
        maximum=15_000,
    )
    max_retries: int = setting("Tries after the first before a message fails.", default=8, minimum=0, maximum=100)
    retry_base: float = setting(
        "First delay before a retry; it doubles with each.",
        default=1.0,
        unit="seconds",
        minimum=0.01,
        maximum=3600,
    )
    retry_cap: float = setting(
        "Longest delay between two tries.", default=600.0, unit="seconds", minimum=0.01, maximum=86_400
    )
    breaker_failures: int = setting(
        "Submits failing in a row that open a connection's circuit breaker.", default=10, minimum=1, maximum=10_000
    )
    breaker_seconds: float = setting(
        "How long it stays open at first; it doubles up to 30 s while probes fail.",
        default=1.0,
        unit="seconds",
        minimum=0.01,
        maximum=30,
    )
    outage_patience: float = setting(
        "Messages wait so long in a process for a connection that is down; then they wait on Kafka.",
        default=2.0,
        unit="seconds",
        minimum=0,
        maximum=3600,
    )
    drain_timeout: float = setting(
        "After SIGTERM, wait so long for submits in flight.",
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
        "A message submitted so long ago without a receipt becomes unknown; a receipt without its submit is dropped.",
        default=72,
        unit="hours",
        minimum=1,
        maximum=720,
    )
    match_days: int = setting(
        "A receipt that bears only the operator's id is looked for among messages submitted within so long.",
        default=7,
        unit="days",
        minimum=1,
        maximum=31,
    )
    trusted_proxies: int = setting(
        "Proxies of ours in front of the API that append to X-Forwarded-For; 0 takes the connection's own address.",
        default=0,
        minimum=0,
        maximum=10,
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Callback:
    title: ClassVar[str] = "Callbacks to customers"
    prefix: ClassVar[str] = "CALLBACK_"

    timeout: float = setting(
        "Longest wait for an endpoint's answer.", default=10.0, unit="seconds", minimum=0.1, maximum=300
    )
    concurrency: int = setting("Callbacks in flight at once in a process.", default=200, minimum=1, maximum=10_000)
    per_customer: int = setting(
        "Callbacks of one customer in flight at once in a process, besides slow ones.",
        default=10,
        minimum=1,
        maximum=1000,
    )
    per_host: int = setting(
        "Callbacks of one customer in flight at once in a process to its endpoint, or to one host.",
        default=10,
        minimum=1,
        maximum=1000,
    )
    slow_after: float = setting(
        "A call that has lasted so long is slow: it makes room for the customer's others.",
        default=1.0,
        unit="seconds",
        minimum=0.01,
        maximum=300,
    )
    slow_per_customer: int = setting(
        "So many slow calls of one customer make room for others in a process.", default=50, minimum=0, maximum=10_000
    )
    pause_after: int = setting(
        "An endpoint or host is paused when so many calls in a row have failed.", default=10, minimum=1, maximum=10_000
    )
    pause_delays: list[str] = setting(
        "How long each pause lasts until one call probes the endpoint, comma separated; the last is repeated.",
        default=["30", "60", "120", "300", "600"],
        unit="seconds",
        pattern=r"[0-9]{1,7}(\.[0-9]+)?",
    )
    mail_after: float = setting(
        "A customer whose endpoint is paused, and has failed for so long, gets an e-mail.",
        default=900.0,
        unit="seconds",
        minimum=0,
        maximum=86_400,
    )
    retry_delays: list[str] = setting(
        "How long after each failed try the next one follows, comma separated; after the last it has failed.",
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
        "true, for development: endpoints may be http, have any port and stand in the gateway's own network. No "
        "process of production or staging starts with true; who means it there says even-deployed.",
        default="false",
        choices=("true", "false", "even-deployed"),
    )
    drain_timeout: float = setting(
        "After SIGTERM, wait so long for callbacks in flight.",
        default=30.0,
        unit="seconds",
        minimum=0,
        maximum=3600,
    )
    low_balance_check: float = setting(
        "How often balances are compared with their thresholds: so late a low one is told at most.",
        default=10.0,
        unit="seconds",
        minimum=0.05,
        maximum=3600,
    )
    kept_days: int = setting(
        "manage.py purge deletes finished callbacks that are older.", default=14, unit="days", minimum=1, maximum=3660
    )

    @property
    def private(self) -> bool:
        """Whether endpoints may stand in the gateway's own network."""
        return self.allow_private != "false"


@dataclasses.dataclass(frozen=True, slots=True)
class Routing:
    title: ClassVar[str] = "Routing"
    prefix: ClassVar[str] = "OPERATOR_"

    default: str = setting(
        "Operator of numbers that belong to no configured operator.",
        default="mci",
    )
