"""The report of a reconciliation, as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from apps.reconciliation.compare import CustomerDay
from apps.reconciliation.service import Report
from smsgateway import ids, money

_MEASURES = ("messages", "segments", "cost", "refunded")
_MONEY = frozenset(["cost", "refunded"])
_REPAIRED = {
    "events": "events published again",
    "minutes": "minutes computed again",
    "put_back": "stuck messages put back",
}


def as_data(report: Report) -> dict[str, Any]:
    """The report for JSON; money in minor units."""
    return {
        "from": report.first.isoformat(),
        "to": report.last.isoformat(),
        "agrees": report.agrees,
        "not_compared": [day.isoformat() for day in report.not_compared],
        "days": [_day(day) for day in report.days],
        "stuck": [
            {"message_id": ids.to_text(message_id), "customer_id": ids.to_text(customer_id), "expired": expired}
            for message_id, customer_id, expired in report.stuck
        ],
        "waiting_on_kafka": report.waiting,
        "accounts": [
            account._asdict() | {"customer_id": ids.to_text(account.customer_id)} for account in report.accounts
        ],
        "repaired": dict(report.repaired),
    }


def _day(day: CustomerDay) -> dict[str, Any]:
    return {
        "customer_id": ids.to_text(day.customer_id),
        "day": day.day.isoformat(),
        "postgresql": day.postgresql._asdict() | {"by_status": dict(day.postgresql.by_status)},
        "clickhouse": day.clickhouse._asdict() | {"by_status": dict(day.clickhouse.by_status)},
        "messages": {ids.to_text(message_id): str(kind) for message_id, kind in day.messages.items()},
        "stale_minutes": len(day.stale),
        "in_flight": day.in_flight,
    }


def lines(report: Report, *, currency: str) -> Iterator[str]:
    """The report as text: a table and some lines; money in major units."""
    yield f"{report.first} to {report.last}"
    if report.not_compared:
        yield f"not compared: {len(report.not_compared)} days that PostgreSQL no longer has"
    if report.days:
        yield from _table(report.days, currency)
    for kind, count in sorted(report.kinds.items()):
        yield f"{kind}: {count} messages"
    if report.stuck:
        expired = sum(stuck.expired for stuck in report.stuck)
        yield f"stuck: {len(report.stuck)} messages without a status, {expired} of them expired"
    if report.waiting:
        yield f"{report.waiting} events wait on Kafka: stuck messages that have not expired were not put back"
    for account in report.accounts:
        yield (
            f"account of {ids.to_text(account.customer_id)}: balance {money.with_currency(account.balance, currency)}, "
            f"ledger {money.with_currency(account.ledger_balance, currency)}; "
            f"{account.entries} entries, ledger {account.ledger_entries}"
        )
    for what, count in sorted(report.repaired.items()):
        yield f"repaired: {count} {_REPAIRED.get(what, what)}"
    if report.agrees:
        yield "PostgreSQL, ClickHouse and the ledger agree."


def _table(days: list[CustomerDay], currency: str) -> Iterator[str]:
    titles = (f"{measure} in {currency}" if measure in _MONEY else measure for measure in _MEASURES)
    head = ["customer", "day", *(f"{title} (PostgreSQL/ClickHouse)" for title in titles), "statuses differ"]
    rows = [head]
    for day in days:
        ours, theirs = dict(day.postgresql.by_status), dict(day.clickhouse.by_status)
        differing = sorted(status for status in ours.keys() | theirs.keys() if ours.get(status) != theirs.get(status))
        statuses = [f"{status} {ours.get(status, 0)}/{theirs.get(status, 0)}" for status in differing]
        pairs = [
            "/".join(_measure(name, getattr(side, name), currency) for side in (day.postgresql, day.clickhouse))
            for name in _MEASURES
        ]
        rows.append([ids.to_text(day.customer_id), str(day.day), *pairs, ", ".join(statuses)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _measure(name: str, value: int, currency: str) -> str:
    return money.formatted(value, currency) if name in _MONEY else str(value)
