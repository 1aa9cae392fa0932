"""How the operations of the reporting API are described in its OpenAPI document."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from apps.balance.errors import StatementArchived
from apps.customers.errors import CustomerNotFound, InvalidApiKey, WrongCustomer
from apps.reporting.errors import HttpVersionTooOld, QueryTooSlow, TooManyExports
from apps.reporting.export.formats import FORMATS, GZIP
from apps.reporting.queries.summary import FILTERS, GROUPINGS, MAX_ROWS
from apps.sms.views.openapi.schemas import Encoding, MessageStatus
from smsgateway import ids
from smsgateway.errors import StatisticsUnavailable
from smsgateway.http.openapi import (
    CACHE_CONTROL,
    CONTENT_DISPOSITION,
    CONTENT_ENCODING,
    MOMENT,
    VARY,
    Amount,
    Currency,
    Moment,
    Ulid,
    operation,
    query_parameter,
)

Grouping = Literal["minute", "hour", "day", "customer", "operator", "country", "encoding", "status", "error"]


class Counts(msgspec.Struct):
    """Messages, their segments and money in minor units. `accepted` is the sum of `delivered` through `pending`."""

    accepted: int
    segments: int
    cost: Amount
    delivered: int
    undelivered: int
    failed: int
    rejected: int
    expired: int
    canceled: int
    pending: int
    refunded: Amount


class StatsRow(Counts):
    """The messages accepted in the interval that starts at `time`."""

    time: Annotated[
        str,
        Meta(description="The start of the interval: a time for minutes, a date for days.", examples=["2026-11-01"]),
    ]
    operator: str


class StatsAnswer(msgspec.Struct, rename={"since": "from", "until": "to"}):
    """Rows by time and operator, oldest first, and their totals."""

    customer_id: Ulid
    since: Moment
    until: Moment
    interval: Literal["minute", "daily"]
    rows: list[StatsRow]
    totals: Counts


class Delays(msgspec.Struct):
    """Quantiles in milliseconds, accurate to 20 %."""

    p50: int
    p90: int
    p99: int


class SummaryRow(Counts):
    """One group: the values it is grouped by, its counts, and with `delays=1` the times to submit and to deliver."""

    submit_ms: Delays | msgspec.UnsetType | None = msgspec.UNSET
    delivery_ms: Delays | msgspec.UnsetType | None = msgspec.UNSET
    minute: Moment | msgspec.UnsetType = msgspec.UNSET
    hour: Moment | msgspec.UnsetType = msgspec.UNSET
    day: dt.date | msgspec.UnsetType = msgspec.UNSET
    customer: Ulid | msgspec.UnsetType = msgspec.UNSET
    operator: str | msgspec.UnsetType = msgspec.UNSET
    country: str | msgspec.UnsetType = msgspec.UNSET
    encoding: Encoding | msgspec.UnsetType = msgspec.UNSET
    status: MessageStatus | msgspec.UnsetType = msgspec.UNSET
    error: str | msgspec.UnsetType = msgspec.UNSET


class SummaryAnswer(msgspec.Struct, rename={"since": "from", "until": "to"}):
    """A row for each group. `truncated` is true if rows are missing."""

    customer_id: Ulid | None
    since: Moment
    until: Moment
    group_by: list[Grouping]
    rows: list[SummaryRow]
    truncated: bool


class StatementMovement(msgspec.Struct):
    """The sum (signed) and the number of the ledger entries of one kind."""

    kind: Literal["topup", "charge", "refund", "adjustment"]
    amount: Amount
    entries: int


class StatementAnswer(msgspec.Struct, rename={"since": "from", "until": "to"}):
    """`opening_balance` plus all amounts equals `closing_balance`. `complete` is false until the month has ended."""

    customer_id: Ulid
    month: str
    tz: str
    since: Moment
    until: Moment
    complete: bool
    currency: Currency
    opening_balance: Amount
    movements: list[StatementMovement]
    closing_balance: Amount


_TEXT: Final = {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"}
_ULID: Final = {"type": "string", "pattern": ids.PATTERN}
_STATUS: Final = {"$ref": "#/components/schemas/MessageStatus"}
_ENCODING: Final = {"$ref": "#/components/schemas/Encoding"}
_MONTH: Final = {"type": "string", "pattern": "^(19[7-9]|20[0-9])[0-9]-(0[1-9]|1[0-2])$"}
_FLAG: Final = {"type": "string", "enum": ["0", "1"]}
_ACCESS: Final = (InvalidApiKey, WrongCustomer)
_STATISTICS: Final = (*_ACCESS, StatisticsUnavailable, QueryTooSlow)


_GROUPS: Final = "|".join(GROUPINGS)
_FILTERS: Final = {"status": _STATUS, "encoding": _ENCODING}
_CUSTOMER: Final = query_parameter("customer_id", "The customer. With an API key, its own customer by default.", _ULID)
_RANGE: Final = (
    query_parameter(
        "from",
        "Start, inclusive: a time with an offset, or a date (midnight in `tz`).",
        MOMENT,
        required=True,
    ),
    query_parameter(
        "to",
        "End, exclusive: a time with an offset, or a date (midnight in `tz`).",
        MOMENT,
        required=True,
    ),
)
_TZ: Final = query_parameter(
    "tz",
    "IANA time zone of days, and of dates in `from` and `to`. Default: UTC.",
    {"type": "string", "examples": ["Asia/Tehran"]},
)
_FILL: Final = query_parameter("fill", "1: add rows of zeros for intervals without messages.", _FLAG)
_STATS: Final = (_CUSTOMER, *_RANGE, query_parameter("operator", "Count this operator only.", _TEXT), _TZ, _FILL)

MINUTE: Final = operation(
    "getStatisticsByMinute",
    "Count a customer's messages per minute",
    description="The range may span 7 days.",
    answer=StatsAnswer,
    problems_of=_STATISTICS,
    parameters=_STATS,
    headers=[CACHE_CONTROL],
    tag="statistics",
)
DAILY: Final = operation(
    "getStatisticsByDay",
    "Count a customer's messages per day",
    description="The range may span 400 days, or 92 days in time zones other than UTC.",
    answer=StatsAnswer,
    problems_of=_STATISTICS,
    parameters=_STATS,
    headers=[CACHE_CONTROL],
    tag="statistics",
)
SUMMARY: Final = operation(
    "getSummary",
    "Count messages by any grouping",
    answer=SummaryAnswer,
    problems_of=_STATISTICS,
    parameters=[
        query_parameter("customer_id", "The customer. Default: all; with an API key, its own customer.", _ULID),
        *_RANGE,
        query_parameter(
            "group_by",
            f"Comma-separated names out of {', '.join(GROUPINGS)}; at most one of minute, hour and day. The answer has "
            f"at most {MAX_ROWS} rows.",
            {"type": "string", "pattern": f"^({_GROUPS})(,({_GROUPS}))*$", "examples": ["day,operator"]},
        ),
        *(query_parameter(name, f"Count this {name} only.", _FILTERS.get(name, _TEXT)) for name in FILTERS),
        _TZ,
        _FILL,
        query_parameter("delays", "1: add quantiles of the times to submit and to deliver.", _FLAG),
    ],
    headers=[CACHE_CONTROL],
    tag="statistics",
)
EXPORT: Final = operation(
    "exportMessages",
    "Export a customer's messages as a file",
    files=[*(form.media_type.partition(";")[0] for form in FORMATS.values()), GZIP],
    problems_of=(*_STATISTICS, TooManyExports, HttpVersionTooOld),
    parameters=[
        _CUSTOMER,
        query_parameter("format", "The file's format.", {"type": "string", "enum": list(FORMATS), "default": "csv"}),
        query_parameter(
            "from",
            "Start, inclusive: a time with an offset, or a date (midnight in UTC). Default: 31 days before `to`.",
            MOMENT,
        ),
        query_parameter(
            "to",
            "End, exclusive: a time with an offset, or a date. Default: now. The range may span 92 days.",
            MOMENT,
        ),
        query_parameter("status", "The current status.", _STATUS),
        query_parameter("operator", "The operator that handled the message last.", _TEXT),
        query_parameter("gzip", "1: return a gzip file (not for Parquet).", _FLAG),
    ],
    headers=[CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, VARY],
    tag="messages",
)
STATEMENT: Final = operation(
    "getStatement",
    "Get a customer's monthly statement",
    description="The opening balance, the movements by kind and the closing balance of a month.",
    answer=StatementAnswer,
    problems_of=(*_ACCESS, CustomerNotFound, StatementArchived),
    parameters=[
        query_parameter("month", "The month, such as 2026-11.", _MONTH, required=True),
        query_parameter(
            "tz",
            "IANA time zone in which the month begins and ends. Default: UTC.",
            {"type": "string", "examples": ["Asia/Tehran"]},
        ),
    ],
    headers=[CACHE_CONTROL],
    tag="money",
)
