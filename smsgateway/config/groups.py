"""Every setting of the gateway, declared once: name, type, meaning, unit, default and limits."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from smsgateway.config.declare import setting
from smsgateway.config.delivery import Callback, Receipts, Routing, Worker
from smsgateway.config.kafka import Kafka
from smsgateway.config.mobile_prefixes import numbers_of
from smsgateway.config.operations import Metrics, Tracing, Watch
from smsgateway.config.operators import HttpOperator, Irancell, Mci, Operators, SmppOperator
from smsgateway.config.partitioning import Partitions
from smsgateway.config.reporting import Reconcile, Reporting


@dataclasses.dataclass(frozen=True, slots=True)
class General:
    title: ClassVar[str] = "General"
    prefix: ClassVar[str] = ""

    environment: str = setting(
        "Where this runs; production and staging demand real secrets.",
        default="development",
        choices=("production", "staging", "development"),
    )
    service: str = setting(
        "Which HTTP service a gunicorn process is.", default="api", choices=("api", "reporting", "admin")
    )
    secret_key: str = setting(
        "Django's signing key, 50 characters or more.",
        default="development-only-secret-key-that-protects-nothing-at-all",
        pattern=r".{50,}",
        deployed_required=True,
    )
    log_level: str = setting(
        "Lowest level that is logged.", default="info", choices=("debug", "info", "warning", "error")
    )
    log_format: str = setting("json for machines, console for people.", default="json", choices=("json", "console"))
    metrics_port: int = setting(
        "Port of /metrics and /healthz of a worker process; 0 takes a free one and logs it.",
        default=0,
        unit="TCP port",
        minimum=0,
        maximum=65535,
    )
    metrics_textfile_dir: str = setting(
        "Folder of node_exporter's textfile collector, where cron jobs leave their metrics; empty: nowhere.",
        default="",
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Http:
    title: ClassVar[str] = "HTTP (gunicorn)"
    prefix: ClassVar[str] = "HTTP_"

    host: str = setting("Address the HTTP service listens on.", default="127.0.0.1")
    port: int = setting(
        "Port; 0 means the service's own: api 8080, reporting 8081, admin 8082.",
        default=0,
        unit="TCP port",
        minimum=0,
        maximum=65535,
    )
    workers: int = setting("gunicorn processes.", default=4, minimum=1, maximum=256)
    threads: int = setting("Threads in each process; 2 to 4 serve best.", default=2, minimum=1, maximum=64)
    timeout: int = setting(
        "A process that hangs longer is replaced.", default=30, unit="seconds", minimum=1, maximum=3600
    )
    max_body_bytes: int = setting(
        "Largest request body.", default=5_242_880, unit="bytes", minimum=1024, maximum=104_857_600
    )
    allowed_hosts: list[str] = setting(
        "Host names that are served, comma separated.", default=["*"], deployed_required=True
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Database:
    title: ClassVar[str] = "PostgreSQL"
    prefix: ClassVar[str] = "DATABASE_"

    url: str = setting(
        "PostgreSQL: postgres://user:password@host:5432/name (a socket folder as %2Fpath).",
        pattern=r"postgres(ql)?://.+/.+",
    )
    pool_size: int = setting(
        "Connections a process shares between its threads; 0 keeps one for each thread, the fastest.",
        default=0,
        unit="connections",
        minimum=0,
        maximum=1000,
    )
    connect_timeout: int = setting("Wait for a connection.", default=5, unit="seconds", minimum=1, maximum=60)
    lock_timeout: int = setting(
        "Longest wait for a row lock, such as an account's.",
        default=5000,
        unit="milliseconds",
        minimum=1,
        maximum=600_000,
    )
    statement_timeout: int = setting(
        "Longest run of one statement.", default=30_000, unit="milliseconds", minimum=1, maximum=3_600_000
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Balance:
    title: ClassVar[str] = "Balance"
    prefix: ClassVar[str] = "BALANCE_"

    lock: str = setting(
        "How the charges of one account follow each other: by its row's lock, or by an advisory lock per customer.",
        default="row",
        choices=("row", "advisory"),
    )


@dataclasses.dataclass(frozen=True, slots=True)
class ClickHouse:
    title: ClassVar[str] = "ClickHouse"
    prefix: ClassVar[str] = "CLICKHOUSE_"

    url: str = setting(
        "ClickHouse, native protocol: clickhouse://user:password@host:9000/database.",
        pattern=r"clickhouses?://.+/.+",
    )
    timeout: int = setting("Longest run of one query.", default=30, unit="seconds", minimum=1, maximum=3600)
    cluster: str = setting(
        "Name of the ClickHouse cluster that the schema is made on; empty: one server.", default="", pattern=r"[\w-]*"
    )
    raw_kept_days: int = setting(
        "How long single events, and so the export of messages, are kept; 0: for ever.",
        default=180,
        unit="days",
        minimum=0,
        maximum=36_500,
    )
    minute_kept_days: int = setting(
        "How long statistics by the minute are kept; 0: for ever.",
        default=400,
        unit="days",
        minimum=0,
        maximum=36_500,
    )
    daily_kept_days: int = setting(
        "How long statistics by the day are kept; 0: for ever.", default=0, unit="days", minimum=0, maximum=36_500
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Redis:
    title: ClassVar[str] = "Redis (optional)"
    prefix: ClassVar[str] = "REDIS_"

    url: str = setting(
        "Rate limits shared by all processes: redis://host:6379/0; empty: each process counts for itself.",
        default="",
        pattern=r"(rediss?://.+)?",
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Api:
    title: ClassVar[str] = "API keys and rate limits"
    prefix: ClassVar[str] = "API_"

    keys: str = setting(
        "off takes no notice of keys; optional checks those that are sent; required refuses requests without one.",
        default="off",
        choices=("off", "optional", "required"),
    )
    keys_cache: float = setting(
        "How long a process remembers whose a key is, and so how long a revoked one may still work.",
        default=5.0,
        unit="seconds",
        minimum=0,
        maximum=60,
    )
    messages_per_minute: int = setting(
        "How many messages a customer may hand in, unless its own limit says otherwise.",
        default=60_000,
        unit="messages a minute",
        minimum=1,
        maximum=10**9,
    )
    limits_refresh: float = setting(
        "A customer's changed limit holds after so long at the latest.",
        default=5.0,
        unit="seconds",
        minimum=0,
        maximum=3600,
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Admin:
    title: ClassVar[str] = "Admin"
    prefix: ClassVar[str] = "ADMIN_"

    origins: list[str] = setting(
        "Where people open it when a proxy ends TLS before it: https://admin.example.com, comma separated.",
        default=[],
        pattern=r"https?://[^\s/]+",
    )
    processes: list[str] = setting(
        "Metrics pages of the workers that the start page looks at, as NAME=URL: deliver=http://10.0.0.7:9103/metrics. "
        "A host name with several addresses stands for as many processes.",
        default=[],
        unit="NAME=URL, comma separated",
        pattern=r"[a-z_]+=http://[^\s]+",
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Email:
    title: ClassVar[str] = "E-mail"
    prefix: ClassVar[str] = "EMAIL_"

    host: str = setting("SMTP server; empty: no e-mail is sent.", default="")
    port: int = setting("Its port.", default=587, unit="TCP port", minimum=1, maximum=65535)
    security: str = setting("How it is spoken to.", default="starttls", choices=("none", "starttls", "tls"))
    user: str = setting("With a login; ASCII.", default="", pattern=r"[ -~]*")
    # SMTP's logins of Python know ASCII only.
    password: str = setting("With a login; ASCII.", default="", pattern=r"[ -~]*")
    sender: str = setting("From whom e-mails come.", default="SMS gateway <smsgateway@localhost>")
    timeout: int = setting("Wait for the server.", default=10, unit="seconds", minimum=1, maximum=300)


@dataclasses.dataclass(frozen=True, slots=True)
class Sms:
    title: ClassVar[str] = "SMS"
    prefix: ClassVar[str] = "SMS_"

    cost_per_segment: int = setting(
        "Price of a segment where no rate says otherwise.",
        default=100,
        unit="minor units of the currency",
        minimum=0,
        maximum=10**11,
    )
    currency: str = setting("ISO 4217 code of all balances.", default="IRR", pattern=r"[A-Z]{3}")
    rates_refresh: float = setting(
        "A changed rate is charged after so long at the latest.", default=5.0, unit="seconds", minimum=0, maximum=3600
    )
    routes_refresh: float = setting(
        "A changed route shows in estimates and accepted messages after so long; workers follow it by Kafka.",
        default=5.0,
        unit="seconds",
        minimum=0,
        maximum=3600,
    )
    max_length: int = setting("Longest text.", default=1530, unit="characters", minimum=1, maximum=39_015)
    max_batch: int = setting("Most messages in one batch.", default=10_000, minimum=1, maximum=100_000)
    default_region: str = setting(
        "Region whose national number forms are accepted (ISO 3166).", default="IR", pattern=r"[A-Z]{2}"
    )
    mobile_prefixes: list[str] = setting(
        "Prefixes of mobile numbers that the number plans of the installed phonenumbers library lack: digits of E.164 "
        "without the plus, comma separated, as 98997.",
        default=[],
        valid=numbers_of,
    )
    validity: int = setting(
        "A message not handed to its operator by then expires and is refunded.",
        default=172_800,
        unit="seconds",
        minimum=1,
        maximum=2_592_000,
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Config:
    """All settings, by group; `settings.CONFIG` in Django.

    The operators named by OPERATORS_HTTP and OPERATORS_SMPP have a group each, by name.
    """

    general: General
    http: Http
    database: Database
    balance: Balance
    clickhouse: ClickHouse
    kafka: Kafka
    redis: Redis
    api: Api
    admin: Admin
    email: Email
    sms: Sms
    worker: Worker
    receipts: Receipts
    callback: Callback
    partitions: Partitions
    reporting: Reporting
    reconcile: Reconcile
    mci: Mci
    irancell: Irancell
    operators: Operators
    routing: Routing
    metrics: Metrics
    watch: Watch
    tracing: Tracing
    http_operators: dict[str, HttpOperator]
    smpp_operators: dict[str, SmppOperator]
