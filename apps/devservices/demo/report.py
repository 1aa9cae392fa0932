"""What the demo prints: a table of the customers, and charts of messages per second."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from apps.devservices.demo.comparison import ENDS, Customer, Verdict
from apps.sms import statuses
from smsgateway import money

BARS: Final = " ▁▂▃▄▅▆▇█"
WIDTH: Final = 60
_PLAIN_WIDTH: Final = 132


def console() -> Console:
    """Standard output; wide enough for the table if it is not a terminal."""
    made = Console(highlight=False)
    return made if made.is_terminal else Console(highlight=False, width=_PLAIN_WIDTH)


def progress(on: Console) -> Progress:
    """A progress bar with a count and the time."""
    return Progress(
        TextColumn("{task.description:<9}"), BarColumn(40), MofNCompleteColumn(), TimeElapsedColumn(), console=on
    )


def table(customers: Sequence[Customer], *, currency: str) -> Table:
    """One row per customer; money in major units of the currency."""
    made = Table(title=f"Customers; money in {currency}", title_justify="left")
    made.add_column("customer")
    made.add_column("refused")
    for column in ("accepted", "delivered", "failed", "refunded", "spent", "balance", "ledger sum"):
        made.add_column(column, justify="right")
    for customer in customers:
        books, ends = customer.books, customer.ends
        failed = {end: ends[end] for end in ENDS if ends[end] and end != statuses.DELIVERED}
        made.add_row(
            customer.name,
            _by_reason(customer.answers.refused),
            f"{len(customer.answers.message_ids):,}",
            f"{ends[statuses.DELIVERED]:,}",
            _by_reason(failed),
            money.formatted(books.refunded, currency),
            money.formatted(books.spent, currency),
            money.formatted(books.balance, currency),
            money.formatted(books.ledger_sum, currency),
        )
    return made


def _by_reason(counts: dict[str, int]) -> str:
    return "\n".join(f"{count:,} {reason}" for reason, count in sorted(counts.items())) or "0"


def pace_picture(name: str, moments: Iterable[float], *, since: float, until: float) -> str:
    """A line of bars, the messages of each second from `since` to `until` (of several seconds, if there are many)."""
    seconds = max(1, int(until - since) + 1)
    step = -(-seconds // WIDTH)
    counts = [0] * -(-seconds // step)
    for moment in moments:
        counts[min(len(counts) - 1, max(0, int((moment - since) / step)))] += 1
    peak = max(counts)
    bars = "".join(BARS[-(-count * (len(BARS) - 1) // peak)] if peak else BARS[0] for count in counts)
    return f"{name:<10} [{bars}] at most {round(peak / step):,}/s"


def pictures(verdict: Verdict, accepted_at: Sequence[float]) -> list[str]:
    """Charts of messages accepted, submitted and ended, by second."""
    reached = [message.reached for customer in verdict.customers for message in customer.books.messages.values()]
    submitted = [moments[statuses.SUBMITTED] for moments in reached if statuses.SUBMITTED in moments]
    ended = [min(at for status, at in moments.items() if status in statuses.FINAL) for moments in reached if moments]
    everything = [*accepted_at, *submitted, *ended]
    if not everything:
        return []
    since, until = min(everything), max(everything)
    return [
        pace_picture(name, moments, since=since, until=until)
        for name, moments in (("accepted", accepted_at), ("submitted", submitted), ("ended", ended))
    ]
