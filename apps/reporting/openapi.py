"""How the operations of the reporting API are described in its OpenAPI document."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

import msgspec
from drf_spectacular.utils import OpenApiParameter

from apps.balance.errors import StatementArchived
from apps.customers.errors import CustomerNotFound, InvalidApiKey, WrongCustomer
from apps.reporting import parameters
from apps.reporting.errors import HttpVersionTooOld, QueryTooSlow, TooManyExports
from apps.reporting.export.formats import FORMATS, GZIP
from apps.reporting.summary import FILTERS, GROUPINGS, MOST_ROWS
from apps.sms import statuses
from smsgateway.errors import StatisticsUnavailable
from smsgateway.openapi import operation, query_parameter


class Counts(msgspec.Struct):
    """Messages, their segments and money (minor units); `accepted` is the sum of the seven that follow `cost`."""

    accepted: int
    segments: int
    cost: int
    delivered: int
    undelivered: int
    failed: int
    rejected: int
    expired: int
    canceled: int
    pending: int
    refunded: int


class StatsRow(Counts):
    """The messages that were accepted from `time` on (by the day a date), until the next interval begins."""

    time: str
    operator: str


class StatsAnswer(msgspec.Struct, rename={"since": "from", "until": "to"}):
    """Rows by time and operator, the oldest first, and their totals."""

    customer_id: str
    since: dt.datetime
    until: dt.datetime
    interval: str
    rows: list[StatsRow]
    totals: Counts


class Delays(msgspec.Struct):
    """Quantiles in milliseconds, right to a fifth of themselves."""

    p50: int
    p90: int
    p99: int


class SummaryRow(Counts):
    """A group: the values it was grouped by, counts, and with `delays=1` the time to and from the operator."""

    submit_ms: Delays | msgspec.UnsetType | None = msgspec.UNSET
    delivery_ms: Delays | msgspec.UnsetType | None = msgspec.UNSET
    minute: dt.datetime | msgspec.UnsetType = msgspec.UNSET
    hour: dt.datetime | msgspec.UnsetType = msgspec.UNSET
    day: dt.date | msgspec.UnsetType = msgspec.UNSET
    customer: str | msgspec.UnsetType = msgspec.UNSET
    operator: str | msgspec.UnsetType = msgspec.UNSET
    country: str | msgspec.UnsetType = msgspec.UNSET
    encoding: str | msgspec.UnsetType = msgspec.UNSET
    status: str | msgspec.UnsetType = msgspec.UNSET
    error: str | msgspec.UnsetType = msgspec.UNSET


class SummaryAnswer(msgspec.Struct, rename={"since": "from", "until": "to"}):
    """A row for each group; `truncated` if there are more of them than are told."""

    customer_id: str | None
    since: dt.datetime
    until: dt.datetime
    group_by: list[str]
    rows: list[SummaryRow]
    truncated: bool


class StatementMovement(msgspec.Struct):
    """What the ledger entries of one kind come to (signed), and how many they are."""

    kind: str
    amount: int
    entries: int


class StatementAnswer(msgspec.Struct, rename={"since": "from", "until": "to"}):
    """`opening_balance` + all amounts = `closing_balance`. Not `complete`: the month is not over."""

    customer_id: str
    month: str
    tz: str
    since: dt.datetime
    until: dt.datetime
    complete: bool
    currency: str
    opening_balance: int
    movements: list[StatementMovement]
    closing_balance: int


_TEXT: Final = {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"}
_ULID: Final = {"type": "string", "pattern": "^[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}$"}
_MOMENT: Final = {"type": "string", "anyOf": [{"format": "date-time"}, {"format": "date"}]}
_MONTH: Final = {"type": "string", "pattern": "^(19[7-9]|20[0-9])[0-9]-(0[1-9]|1[0-2])$"}
_FILTERS: Final = {name: {"type": "string", "enum": list(choices)} for name, choices in parameters.CHOICES.items()}
_FLAG: Final = {"type": "string", "enum": ["0", "1"]}
_ACCESS: Final = (InvalidApiKey, WrongCustomer)
_STATISTICS: Final = (*_ACCESS, StatisticsUnavailable, QueryTooSlow)


def _required(name: str, description: str, schema: dict[str, Any]) -> OpenApiParameter:
    return OpenApiParameter(name, schema, OpenApiParameter.QUERY, required=True, description=description)


_CUSTOMER: Final = query_parameter("customer_id", "Whose; with an API key its own customer's if left out.", _ULID)
_RANGE: Final = (
    _required("from", "The first moment: a date, or a time with its offset.", _MOMENT),
    _required("to", "The moment after the last.", _MOMENT),
)
_TZ: Final = query_parameter(
    "tz", "Time zone (IANA) of days, and of dates in `from` and `to`; UTC if left out.", {"type": "string"}
)
_FILL: Final = query_parameter("fill", "1: intervals without messages have rows of zeros.", _FLAG)
_STATS: Final = (_CUSTOMER, *_RANGE, query_parameter("operator", "One operator only.", _TEXT), _TZ, _FILL)

MINUTE: Final = operation(
    "stats_minute",
    "A customer's messages by the minute: 7 days at most",
    answer=StatsAnswer,
    problems_of=_STATISTICS,
    parameters=_STATS,
    tag="statistics",
)
DAILY: Final = operation(
    "stats_daily",
    "A customer's messages by the day: 400 days at most, 92 in another time zone than UTC",
    answer=StatsAnswer,
    problems_of=_STATISTICS,
    parameters=_STATS,
    tag="statistics",
)
SUMMARY: Final = operation(
    "stats_summary",
    "What messages come to, in any grouping",
    answer=SummaryAnswer,
    problems_of=_STATISTICS,
    parameters=[
        query_parameter("customer_id", "Whose; all customers' if left out, with an API key its own.", _ULID),
        *_RANGE,
        query_parameter(
            "group_by",
            f"Some of {', '.join(GROUPINGS)}, comma separated, one time at the most. At most {MOST_ROWS} rows.",
            {"type": "string"},
        ),
        *(query_parameter(name, f"One {name} only.", _FILTERS.get(name, _TEXT)) for name in FILTERS),
        _TZ,
        _FILL,
        query_parameter("delays", "1: with quantiles of the time to submit and to deliver.", _FLAG),
    ],
    tag="statistics",
)
EXPORT: Final = operation(
    "export",
    "A customer's messages as a file",
    files=[*(form.media_type.partition(";")[0] for form in FORMATS.values()), GZIP],
    problems_of=(*_STATISTICS, TooManyExports, HttpVersionTooOld),
    parameters=[
        _CUSTOMER,
        query_parameter("format", "Of the file.", {"type": "string", "enum": list(FORMATS), "default": "csv"}),
        query_parameter("from", "The first moment; 31 days before `to` if left out.", _MOMENT),
        query_parameter("to", "The moment after the last; now if left out. The range may span 92 days.", _MOMENT),
        query_parameter("status", "The current status.", {"type": "string", "enum": list(statuses.ORDER)}),
        query_parameter("operator", "The operator that had the message last.", _TEXT),
        query_parameter("gzip", "1: the file itself is gzip (not for Parquet).", _FLAG),
    ],
    tag="messages",
)
STATEMENT: Final = operation(
    "statement",
    "A customer's month: what was on the account, what came and went, what is on it",
    answer=StatementAnswer,
    problems_of=(*_ACCESS, CustomerNotFound, StatementArchived),
    parameters=[
        _required("month", "Such as 2026-11.", _MONTH),
        query_parameter("tz", "Time zone (IANA) in which the month begins and ends; UTC if left out."),
    ],
    tag="money",
)
