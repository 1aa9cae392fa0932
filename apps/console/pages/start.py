"""The start page: how the gateway is now. Each tile links to its details; a tile without data is greyed out."""

from __future__ import annotations

import datetime as dt
import functools
import json
from collections.abc import Mapping
from typing import Any, Final

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse

from apps.console import cells
from apps.console.state import dead_letters, lag, queues, statistics
from apps.console.state import workers as worker_pages
from apps.console.state.operators import operators_down
from apps.console.state.poll import Answer, Poller
from apps.console.state.statistics import Traffic
from smsgateway import money

_DEADLINE_SECONDS: Final = 1.0
_FRESH_SECONDS: Final = 15.0
# A process that lags by more is shown as late.
_LATE_EVENTS: Final = 10_000
_LATE_SECONDS: Final = 60.0

_REASONS: Final = {"open": "its circuit breaker is open", "unbound": "its connection is not bound"}

POLLER: Final = Poller(fresh_seconds=_FRESH_SECONDS)

_NO_GRID: Final = {
    "maintainAspectRatio": False,
    "interaction": {"mode": "index", "intersect": False},
    "plugins": {
        "legend": {"display": True, "position": "top", "align": "end", "labels": {"boxWidth": 10, "boxHeight": 10}}
    },
    "scales": {
        "x": {"stacked": True, "grid": {"display": False}, "ticks": {"maxRotation": 0, "autoSkip": True}},
        "y": {"stacked": True, "beginAtZero": True, "ticks": {"maxTicksLimit": 5, "precision": 0}},
    },
}


def gateway_state() -> dict[str, Answer]:
    """The answers of ClickHouse, Kafka and the workers, after the deadline at the latest."""
    pages = settings.CONFIG.admin.processes
    return POLLER.poll(
        {
            "hours": statistics.hours_today,
            "days": statistics.days,
            "late": statistics.late,
            "lags": lag.lags,
            "workers": functools.partial(worker_pages.workers, pages),
            "letters": dead_letters.dead_letters_waiting,
        },
        seconds=_DEADLINE_SECONDS,
    )


def operator_problem(name: str) -> str:
    """Why this operator takes no messages now; empty if it does, or if no worker answers."""
    pages = settings.CONFIG.admin.processes
    found = POLLER.poll({"workers": functools.partial(worker_pages.workers, pages)}, seconds=_DEADLINE_SECONDS)
    state = operators_down(found["workers"].value or []).get(name)
    return f"{name} takes no messages: {_REASONS[state]}." if state else ""


def start_context(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """The context of the start page; unchanged for people without the permission."""
    user: Any = request.user
    if not user.has_perm("console.view_gateway"):
        return context
    found = gateway_state()
    outbox = queues.outbox()
    return context | {
        "tiles": [
            *_traffic_tiles(found["hours"]),
            _low_tile(),
            _stuck_tile(found["late"], outbox),
        ],
        "attention": attention(found, may_see_letters=user.has_perm("console.view_deadletter")),
        "hours_chart": _hours_chart(found["hours"]),
        "days_chart": _days_chart(found["days"]),
        "chart_options": json.dumps(_NO_GRID),
        "charts_error": found["hours"].error or found["days"].error,
        "processes": processes(found["lags"], found["workers"], outbox),
        "operators_url": cells.url("operators"),
    }


def attention(found: Mapping[str, Answer], *, may_see_letters: bool) -> list[dict[str, str]]:
    """What needs attention now, each with a link to its page; `kind` is `quiet` for what is unknown."""
    operators = cells.url("operators")
    rows = [
        {"kind": "bad", "text": f"{name} takes no messages: {_REASONS[state]}.", "href": operators}
        for name, state in sorted(operators_down(found["workers"].value or []).items())
    ]
    waiting = found.get("letters", Answer(0)) if may_see_letters else Answer(0)
    if waiting.error:
        text = f"Could not check for dead letters. {waiting.error}"
        rows.append({"kind": "quiet", "text": text, "href": cells.url("dead-letters")})
    elif waiting.value:
        text = "1 dead letter needs" if waiting.value == 1 else f"{waiting.value:,} dead letters need"
        text += " attention."
        rows.append({"kind": "bad", "text": text, "href": cells.url("dead-letters")})
    return rows


def _tile(
    title: str, value: str, *, href: str, hint: str = "", icon: str = "", kind: str = "", error: str = ""
) -> dict[str, str]:
    return {"title": title, "value": value, "href": href, "hint": hint, "icon": icon, "kind": kind, "error": error}


def _traffic_tiles(hours: Answer) -> list[dict[str, str]]:
    today = dt.datetime.now(tz=dt.UTC).date().isoformat()
    list_url = cells.url("messages", since=today)
    if hours.error:
        return [
            _tile(title, "", href=list_url, icon=icon, error=hours.error)
            for title, icon in (
                ("Messages today", "sms"),
                ("Delivery rate", "check_circle"),
                ("Spend today", "payments"),
            )
        ]
    total = functools.reduce(Traffic.plus, hours.value, Traffic())
    rate = total.delivery_rate
    currency = settings.CONFIG.sms.currency
    return [
        _tile(
            "Messages today", f"{total.accepted:,}", href=list_url, hint=f"{total.pending:,} in progress", icon="sms"
        ),
        _tile(
            "Delivery rate",
            f"{rate:.1%}" if rate is not None else "–",
            href=cells.url("stuck"),
            hint=f"{total.delivered:,} delivered, {total.failed:,} failed",
            icon="check_circle",
            kind="bad" if rate is not None and rate < 0.8 else "",
        ),
        _tile(
            "Spend today",
            money.formatted(total.spend, currency),
            href=list_url,
            hint=f"{currency}, net of {money.formatted(total.refunded, currency)} refunds",
            icon="payments",
        ),
    ]


def _low_tile() -> dict[str, str]:
    low = queues.low_balances()
    return _tile(
        "Low balances",
        f"{low:,}",
        href=reverse("admin:customers_customer_changelist") + "?balance=low",
        hint="customers below their threshold",
        icon="account_balance_wallet",
        kind="odd" if low else "",
    )


def _stuck_tile(late: Answer, outbox: queues.Outbox) -> dict[str, str]:
    without_end = sum(row.messages for row in late.value or [])
    waiting = outbox.rows if outbox.oldest_seconds > _LATE_SECONDS else 0
    stuck = without_end + waiting + len(queues.overdue())
    hint = "no final status for an hour, or not sent on for a minute"
    if late.error:
        return _tile(
            "Stuck messages",
            f"{waiting:,}+" if waiting else "",
            href=cells.url("stuck"),
            icon="hourglass_top",
            error=late.error,
        )
    return _tile(
        "Stuck messages",
        f"{stuck:,}",
        href=cells.url("stuck"),
        hint=hint,
        icon="hourglass_top",
        kind="odd" if stuck else "",
    )


def _hours_chart(hours: Answer) -> str:
    if hours.error:
        return ""
    now = dt.datetime.now(tz=dt.UTC).hour
    return _chart([f"{hour:02}:00" for hour in range(now + 1)], hours.value[: now + 1])


def _days_chart(days: Answer) -> str:
    if days.error:
        return ""
    return _chart([f"{day:%d %b}" for day in days.value], list(days.value.values()))


def _chart(labels: list[str], found: list[Traffic]) -> str:
    return json.dumps(
        {
            "labels": labels,
            "datasets": [
                _bars("delivered", [row.delivered for row in found], "#16a34a"),
                _bars("in progress", [row.pending for row in found], "#60a5fa"),
                _bars("failed", [row.failed for row in found], "#dc2626"),
                _bars("canceled", [row.canceled for row in found], "#9ca3af"),
            ],
        }
    )


def _bars(name: str, values: list[int], color: str) -> dict[str, Any]:
    return {"label": name, "data": values, "backgroundColor": color, "maxBarThickness": 28, "borderRadius": 2}


def processes(lags: Answer, workers: Answer, outbox: queues.Outbox) -> list[dict[str, Any]]:
    """A row for each process: its backlog, and how many of its copies answer."""
    pending, age = queues.callbacks()
    relay = f"{outbox.rows:,}{'+' if outbox.is_more else ''} row{'s' if outbox.rows != 1 else ''} in the outbox"
    if outbox.oldest_seconds > 1:
        relay += f", the oldest for {_duration(outbox.oldest_seconds)}"
    rows = [_process("relay", relay, late=outbox.oldest_seconds > _LATE_SECONDS)]
    for name in ("deliver", "settle", "ingest"):
        if lags.error:
            rows.append(_process(name, "", error=lags.error))
        else:
            events = lags.value[name].events
            rows.append(
                _process(name, f"{events:,} event{'s' if events != 1 else ''} behind", late=events > _LATE_EVENTS)
            )
        if name == "deliver" and (down := operators_down(workers.value or [])):
            rows[-1]["text"] = ", ".join(
                filter(None, [rows[-1]["text"], f"not sending to {' and '.join(sorted(down))}"])
            )
            rows[-1]["state"] = cells.label("open")
    waiting = f"{pending:,} waiting" + (f", the oldest overdue by {_duration(age)}" if age > 1 else "")
    rows.append(_process("callbacks", waiting, late=age > _LATE_SECONDS))
    answering: dict[str, list[bool]] = {}
    for worker in workers.value or []:
        answering.setdefault(worker.name, []).append(not worker.error)
    for row in rows:
        up = answering.get(row["name"])
        row["up"] = f"{sum(up)} of {len(up)} answer" if up else ""
        if up and not all(up):
            row["state"] = cells.label("down")
    return rows


def _process(name: str, text: str, *, late: bool = False, error: str = "") -> dict[str, Any]:
    return {"name": name, "text": text, "error": error, "state": "" if error else cells.label("late" if late else "ok")}


def _duration(seconds: float) -> str:
    """A number of seconds as text, in the largest unit that fits."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} days"
