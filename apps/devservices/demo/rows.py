"""The demo's customers, and the messages they send."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

BATCH: Final = 50
COLUMNS: Final = ("customer", "to", "text", "from", "reference")


class Plan(NamedTuple):
    """A customer of the demo. `pace`: segments per second; `balance`: minor units."""

    name: str
    pace: int
    balance: int


CUSTOMERS: Final = (
    Plan("bank", pace=60, balance=1_000_000),
    Plan("clinic", pace=40, balance=250_000),
    Plan("shop", pace=50, balance=90_000),  # about half of what its messages cost
)


class Row(NamedTuple):
    """One message of the file."""

    customer: str
    to: str
    text: str
    sender: str
    reference: str

    def fields(self) -> dict[str, str]:
        """The message's fields in a request."""
        return {"to": self.to, "text": self.text, "from": self.sender, "reference": self.reference}


class Request(NamedTuple):
    """One HTTP request: a single message or a batch of one customer's."""

    customer: str
    rows: Sequence[Row]
    is_batch: bool


class UnusableFile(Exception):
    """The file of messages cannot be read"""


def read(path: Path) -> list[Row]:
    """The rows of a CSV file (UTF-8) with the columns COLUMNS. Raises UnusableFile."""
    known = {plan.name for plan in CUSTOMERS}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise UnusableFile(f"{path}: its columns must be {','.join(COLUMNS)}.")
            rows = [Row(*(line[column] or "" for column in COLUMNS)) for line in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UnusableFile(f"{path}: {error}.") from None
    if not rows:
        raise UnusableFile(f"{path}: it has no messages.")
    if strangers := {row.customer for row in rows} - known:
        raise UnusableFile(
            f"{path}: there is no customer {sorted(strangers)[0]!r}; {', '.join(sorted(known))} are known."
        )
    return rows


def requests(rows: Sequence[Row]) -> list[Request]:
    """Every second row as a single send, the rest in batches per customer, in the order of the file."""
    made: list[Request] = []
    waiting: dict[str, list[Row]] = {}
    for position, row in enumerate(rows):
        if position % 2 == 0:
            made.append(Request(row.customer, [row], is_batch=False))
            continue
        batch = waiting.setdefault(row.customer, [])
        batch.append(row)
        if len(batch) == BATCH:
            made.append(Request(row.customer, waiting.pop(row.customer), is_batch=True))
    made += [Request(customer, batch, is_batch=True) for customer, batch in waiting.items()]
    return made
