"""Every setting of the gateway, declared once: name, type, meaning, unit, default and limits."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from smsgateway.config.console import Admin
from smsgateway.config.database import parameters
from smsgateway.config.delivery import Callback, Receipts, Routing, Worker
from smsgateway.config.kafka import Kafka
from smsgateway.config.mobile_prefixes import numbers_of
from smsgateway.config.operations import Metrics, Tracing, Watch
from smsgateway.config.operators import HttpOperator, Irancell, Mci, Operators, SmppOperator
from smsgateway.config.partitioning import Partitions
from smsgateway.config.reporting import Reconcile, Reporting
from smsgateway.config.setting_field import setting
from smsgateway.config.store_urls import check_clickhouse_url, check_redis_url


@dataclasses.dataclass(frozen=True, slots=True)
class General:
    title: ClassVar[str] = "General"
    prefix: ClassVar[str] = ""

    environment: str = setting(
        "Kind of deployment; production and staging require real secrets.",
        default="development",
        choices=("production", "staging", "development"),
    )
    service: str = setting(
        "HTTP service that a gunicorn process runs.", default="api", choices=("api", "reporting", "admin")
    )
    secret_key: str = setting(
        "Django's signing key, 50 characters or more.",
        default="development-only-secret-key-that-protects-nothing-at-all",
        pattern=r".{50,}",
        deployed_required=True,
        secret=50,
    )
    log_level: str = setting(
        "Lowest level that is logged; less severe events are dropped.",
        default="info",
        choices=("debug", "info", "warning", "error"),
    )
    log_format: str = setting(
        "Format of log lines: json for machines, console for people.", default="json", choices=("json", "console")
    )
    metrics_port: int = setting(
        "Port of /metrics, and of a worker's /healthz; 0 takes a free port and logs it. HTTP services answer /metrics "
        "only there, except in development.",
        default=0,
        unit="TCP port",
        minimum=0,
        maximum=65535,
    )
    metrics_textfile_dir: str = setting(
        "Folder of node_exporter's textfile collector, where cron jobs write their metrics; empty: they write none.",
        default="",
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Http:
    title: ClassVar[str] = "HTTP (gunicorn)"
    prefix: ClassVar[str] = "HTTP_"

    host: str = setting("Address the HTTP service listens on.", default="127.0.0.1")
    port: int = setting(
        "Port the HTTP service listens on; 0 uses the service's own: api 8080, reporting 8081, admin 8082.",
        default=0,
        unit="TCP port",
        minimum=0,
        maximum=65535,
    )
    workers: int = setting(
        "Number of gunicorn processes; 0: one for each processor, which is fastest.",
        default=0,
        minimum=0,
        maximum=256,
    )
    threads: int = setting(
        "Threads for each kind of request in each process: reads, batches and other writes, the admin. Single sends "
        "and receipts need none.",
        default=2,
        minimum=1,
        maximum=64,
    )
    connections: int = setting(
        "Clients' connections that a process keeps open; the longest idle one makes room for a new one.",
        default=4096,
        minimum=16,
        maximum=1_000_000,
    )
    connections_per_address: int = setting(
        "Connections of one address that a process keeps open; 0: any number, for a service behind a proxy.",
        default=0,
        minimum=0,
        maximum=1_000_000,
    )
    timeout: int = setting(
        "A process that hangs for longer is replaced.", default=30, unit="seconds", minimum=1, maximum=3600
    )
    max_body_bytes: int = setting(
        "Largest request body.", default=5_242_880, unit="bytes", minimum=1024, maximum=104_857_600
    )
    max_wait: int = setting(
        "Longest wait of a request before it is handled; while requests wait longer, new ones get a 503 with "
        "Retry-After: bulk messages after half of it, one-time passwords after four times of it, batches after three "
        "times.",
        default=2000,
        unit="milliseconds",
        minimum=1,
        maximum=600_000,
    )
    allowed_hosts: list[str] = setting(
        "Host names that requests may be addressed to, comma separated; .example.com includes subdomains. * allows all "
        "and is refused in production and staging. /healthz and /readyz answer to every name.",
        default=["*"],
        deployed_required=True,
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Database:
    title: ClassVar[str] = "PostgreSQL"
    prefix: ClassVar[str] = "DATABASE_"

    url: str = setting(
        "PostgreSQL: postgres://user:password@host:5432/name; write a socket folder as %2Fpath. All options of libpq "
        "may follow: ?sslmode=verify-full&sslrootcert=/etc/ca.pem&target_session_attrs=read-write; several hosts are "
        "host1:5432,host2:5432.",
        pattern=r"postgres(ql)?://.+/.+",
        valid=parameters,
        secret=1,
    )
    pool_size: int = setting(
        "Connections that the threads of a process share; 0 keeps one for each thread, which is fastest.",
        default=0,
        unit="connections",
        minimum=0,
        maximum=1000,
    )
    connect_timeout: int = setting("Longest wait for a connection.", default=5, unit="seconds", minimum=1, maximum=60)
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
        "Lock that serializes the charges of one account: its row's lock, or an advisory lock per customer.",
        default="row",
        choices=("row", "advisory"),
    )


@dataclasses.dataclass(frozen=True, slots=True)
class ClickHouse:
    title: ClassVar[str] = "ClickHouse"
    prefix: ClassVar[str] = "CLICKHOUSE_"

    url: str = setting(
        "ClickHouse over its native protocol: clickhouse://user:password@host:9000/database; with TLS "
        "clickhouses://user:password@host:9440/database?ca_certs=/etc/ca.pem.",
        pattern=r"clickhouses?://.+/.+",
        valid=check_clickhouse_url,
        secret=1,
    )
    timeout: int = setting("Longest run of one query.", default=30, unit="seconds", minimum=1, maximum=3600)
    cluster: str = setting(
        "ClickHouse cluster on which the tables are created; empty: a single server.", default="", pattern=r"[\w-]*"
    )
    raw_kept_days: int = setting(
        "How long single events are kept, and messages can be exported; 0: forever.",
        default=180,
        unit="days",
        minimum=0,
        maximum=36_500,
    )
    minute_kept_days: int = setting(
        "How long statistics by the minute are kept; 0: forever.",
        default=400,
        unit="days",
        minimum=0,
        maximum=36_500,
    )
    daily_kept_days: int = setting(
        "How long statistics by the day are kept; 0: forever.", default=0, unit="days", minimum=0, maximum=36_500
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Redis:
    title: ClassVar[str] = "Redis (optional)"
    prefix: ClassVar[str] = "REDIS_"

    url: str = setting(
        "Redis in which all processes share rate limits: redis://host:6379/0, with TLS "
        "rediss://:password@host:6379/0?ssl_ca_certs=/etc/ca.pem; empty: each process counts separately.",
        default="",
        pattern=r"(rediss?://.+)?",
        valid=check_redis_url,
        secret=1,
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Api:
    title: ClassVar[str] = "API keys and rate limits"
    prefix: ClassVar[str] = "API_"

    keys: str = setting(
        "off ignores API keys; optional checks the keys that are sent; required refuses requests without a key. In "
        "production and staging no process starts with off or optional; add -because-private if only you can reach "
        "the API.",
        default="off",
        choices=("off", "optional", "required", "off-because-private", "optional-because-private"),
    )
    keys_cache: float = setting(
        "How long a process caches the owner of a key, and so how long a revoked key may still work.",
        default=5.0,
        unit="seconds",
        minimum=0,
        maximum=60,
    )
    messages_per_minute: int = setting(
        "Messages a customer may send, unless it has a limit of its own.",
        default=60_000,
        unit="messages a minute",
        minimum=1,
        maximum=10**9,
    )
    limits_refresh: float = setting(
        "How often changed limits of customers are read, and so the longest time until one applies.",
        default=5.0,
        unit="seconds",
        minimum=0,
        maximum=3600,
    )

    @property
    def ignores_keys(self) -> bool:
        """Whether anybody may use the API, for every customer."""
        return self.keys in ("off", "off-because-private")

    @property
    def requires_keys(self) -> bool:
        """Whether requests without a key are refused."""
        return self.keys == "required"


@dataclasses.dataclass(frozen=True, slots=True)
class Email:
    title: ClassVar[str] = "E-mail"
    prefix: ClassVar[str] = "EMAIL_"

    host: str = setting("SMTP server; empty: no e-mail is sent.", default="")
    port: int = setting("Port of the SMTP server.", default=587, unit="TCP port", minimum=1, maximum=65535)
    security: str = setting(
        "Encryption of the connection to the SMTP server.", default="starttls", choices=("none", "starttls", "tls")
    )
    # Python's smtplib can log in with ASCII only.
    user: str = setting("User name of the SMTP login, ASCII; empty: no login.", default="", pattern=r"[ -~]*")
    password: str = setting("Password of the SMTP login, ASCII.", default="", pattern=r"[ -~]*", secret=1)
    sender: str = setting("Sender of e-mails.", default="SMS gateway <smsgateway@localhost>")
    timeout: int = setting("Longest wait for the SMTP server.", default=10, unit="seconds", minimum=1, maximum=300)


@dataclasses.dataclass(frozen=True, slots=True)
class Sms:
    title: ClassVar[str] = "SMS"
    prefix: ClassVar[str] = "SMS_"

    cost_per_segment: int = setting(
        "Price of a segment where no rate applies.",
        default=100,
        unit="minor units of the currency",
        minimum=0,
        maximum=10**11,
    )
    currency: str = setting("ISO 4217 code of all balances.", default="IRR", pattern=r"[A-Z]{3}")
    rates_refresh: float = setting(
        "How often changed rates are read, and so the longest time until one applies.",
        default=5.0,
        unit="seconds",
        minimum=0,
        maximum=3600,
    )
    routes_refresh: float = setting(
        "How often the API reads changed routes, for estimates and accepted messages; workers get them over Kafka.",
        default=5.0,
        unit="seconds",
        minimum=0,
        maximum=3600,
    )
    max_length: int = setting("Longest text of a message.", default=1530, unit="characters", minimum=1, maximum=39_015)
    max_batch: int = setting("Largest number of messages in one batch.", default=10_000, minimum=1, maximum=100_000)
    default_region: str = setting(
        "Region whose national number formats are accepted (ISO 3166).", default="IR", pattern=r"[A-Z]{2}"
    )
    mobile_prefixes: list[str] = setting(
        "Mobile prefixes that the installed phonenumbers library does not know: E.164 digits without the plus, such as "
        "98997, comma separated.",
        default=[],
        valid=numbers_of,
    )
    validity: int = setting(
        "A message expires and is refunded if its operator has not taken it in this time.",
        default=172_800,
        unit="seconds",
        minimum=1,
        maximum=2_592_000,
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Config:
    """All settings, by group; available as `settings.CONFIG` in Django.

    The last two fields hold one group for each operator that OPERATORS_HTTP and OPERATORS_SMPP name.
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
