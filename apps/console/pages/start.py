"""The start page: how the gateway is now. Each tile leads to what is behind it; what is away is a quiet tile."""

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
from apps.console.state import lag, letters, queues, statistics
from apps.console.state import workers as worker_pages
from apps.console.state.operators import operators_down
from apps.console.state.poll import Answer, Asking
from apps.console.state.statistics import Traffic
from smsgateway import money

_DEADLINE_SECONDS: Final = 1.0
_FRESH_SECONDS: Final = 15.0
# Behind by more than this a process is shown as late.
_LATE_EVENTS: Final = 10_000
_LATE_SECONDS: Final = 60.0

_REASONS: Final = {"open": "its circuit is open", "away": "its connection is not bound"}

ASKING: Final = Asking(fresh_seconds=_FRESH_SECONDS)

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


def everything() -> dict[str, Answer]:
    """What the outside services say, at the latest after the deadline."""
    pages = settings.CONFIG.admin.processes
    return ASKING.ask(
        {
            "hours": statistics.hours_today,
            "days": statistics.days,
            "late": statistics.late,
            "lags": lag.lags,
            "workers": functools.partial(worker_pages.workers, pages),
            "letters": letters.letters_waiting,
        },
        seconds=_DEADLINE_SECONDS,
    )


def operator_trouble(name: str) -> str:
    """Why this operator takes no messages now; empty if it does, or if no worker says."""
    pages = settings.CONFIG.admin.processes
    found = ASKING.ask({"workers": functools.partial(worker_pages.workers, pages)}, seconds=_DEADLINE_SECONDS)
    state = operators_down(found["workers"].value or []).get(name)
    return f"{name} takes no messages: {_REASONS[state]}." if state else ""


def start_context(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """The context of the start page; of people without the permission, as it was."""
    user: Any = request.user
    if not user.has_perm("console.view_gateway"):
        return context
    found = everything()
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
        "charts_away": found["hours"].away or found["days"].away,
        "processes": processes(found["lags"], found["workers"], outbox),
        "operators_url": cells.url("operators"),
    }


def attention(found: Mapping[str, Answer], *, may_see_letters: bool) -> list[dict[str, str]]:
    """What somebody has to look at now, each with the page to look at; `kind` is `quiet` for what is not known."""
    operators = cells.url("operators")
    rows = [
        {"kind": "bad", "text": f"{name} takes no messages: {_REASONS[state]}.", "href": operators}
        for name, state in sorted(operators_down(found["workers"].value or []).items())
    ]
    waiting = found.get("letters", Answer(0)) if may_see_letters else Answer(0)
    if waiting.away:
        text = f"Whether dead letters wait is not known. {waiting.away}"
        rows.append({"kind": "quiet", "text": text, "href": cells.url("dead-letters")})
    elif waiting.value:
        one = waiting.value == 1
        text = "1 dead letter waits" if one else f"{waiting.value:,} dead letters wait"
        text += f" for somebody to look at {'it' if one else 'them'}."
        rows.append({"kind": "bad", "text": text, "href": cells.url("dead-letters")})
    return rows


def _tile(
    title: str, value: str, *, href: str, hint: str = "", icon: str = "", kind: str = "", away: str = ""
) -> dict[str, str]:
    return {"title": title, "value": value, "href": href, "hint": hint, "icon": icon, "kind": kind, "away": away}


def _traffic_tiles(hours: Answer) -> list[dict[str, str]]:
    today = dt.datetime.now(tz=dt.UTC).date().isoformat()
    list_url = cells.url("messages", since=today)
    if hours.away:
        return [
            _tile(title, "", href=list_url, icon=icon, away=hours.away)
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
            "Messages today", f"{total.accepted:,}", href=list_url, hint=f"{total.pending:,} on their way", icon="sms"
        ),
        _tile(
            "Delivery rate",
            f"{rate:.1%}" if rate is not None else "–",
            href=cells.url("stuck"),
            hint=f"{total.delivered:,} delivered, {total.failed:,} not",
            icon="check_circle",
            kind="bad" if rate is not None and rate < 0.8 else "",
        ),
        _tile(
            "Spend today",
            money.written(total.spend, currency),
            href=list_url,
            hint=f"{currency}, after {money.written(total.refunded, currency)} of refunds",
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
    hint = "no receipt for an hour, or not handed on for a minute"
    if late.away:
        return _tile(
            "Stuck messages",
            f"{waiting:,}+" if waiting else "",
            href=cells.url("stuck"),
            icon="hourglass_top",
            away=late.away,
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
    if hours.away:
        return ""
    now = dt.datetime.now(tz=dt.UTC).hour
    return _chart([f"{hour:02}:00" for hour in range(now + 1)], hours.value[: now + 1])


def _days_chart(days: Answer) -> str:
    if days.away:
        return ""
    return _chart([f"{day:%d %b}" for day in days.value], list(days.value.values()))


def _chart(labels: list[str], found: list[Traffic]) -> str:
    return json.dumps(
        {
            "labels": labels,
            "datasets": [
                _bars("delivered", [row.delivered for row in found], "#16a34a"),
                _bars("on their way", [row.pending for row in found], "#60a5fa"),
                _bars("failed", [row.failed for row in found], "#dc2626"),
                _bars("canceled", [row.canceled for row in found], "#9ca3af"),
            ],
        }
    )


def _bars(name: str, values: list[int], color: str) -> dict[str, Any]:
    return {"label": name, "data": values, "backgroundColor": color, "maxBarThickness": 28, "borderRadius": 2}


def processes(lags: Answer, workers: Answer, outbox: queues.Outbox) -> list[dict[str, Any]]:
    """A row for each process: how far it is behind, and how many answer."""
    pending, age = queues.callbacks()
    relay = f"{outbox.rows:,}{'+' if outbox.is_more else ''} in the outbox"
    if outbox.oldest_seconds > 1:
        relay += f", the oldest for {_span(outbox.oldest_seconds)}"
    rows = [_process("relay", relay, late=outbox.oldest_seconds > _LATE_SECONDS)]
    for name in ("deliver", "settle", "ingest"):
        if lags.away:
            rows.append(_process(name, "", away=lags.away))
        else:
            events = lags.value[name].events
            rows.append(
                _process(name, f"{events:,} event{'s' if events != 1 else ''} behind", late=events > _LATE_EVENTS)
            )
        if name == "deliver" and (down := operators_down(workers.value or [])):
            rows[-1]["told"] = ", ".join(filter(None, [rows[-1]["told"], f"not to {' and '.join(sorted(down))}"]))
            rows[-1]["state"] = cells.label("open")
    told = f"{pending:,} waiting" + (f", the oldest due for {_span(age)}" if age > 1 else "")
    rows.append(_process("callbacks", told, late=age > _LATE_SECONDS))
    answering: dict[str, list[bool]] = {}
    for worker in workers.value or []:
        answering.setdefault(worker.name, []).append(not worker.away)
    for row in rows:
        seen = answering.get(row["name"])
        row["up"] = f"{sum(seen)} of {len(seen)} answer" if seen else ""
        if seen and not all(seen):
            row["state"] = cells.label("away")
    return rows


def _process(name: str, told: str, *, late: bool = False, away: str = "") -> dict[str, Any]:
    return {"name": name, "told": told, "away": away, "state": "" if away else cells.label("late" if late else "ok")}


def _span(seconds: float) -> str:
    """So many seconds for people."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} days"
