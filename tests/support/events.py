"""Events for the tests of reporting: made, written straight to ClickHouse, or published to Kafka."""

from __future__ import annotations

import datetime as dt
from uuid import UUID

from apps.reporting.ingest import rows, snapshots
from apps.sms import events
from smsgateway import ids
from smsgateway.clickhouse import ClickHouse

MORNING = dt.datetime(2026, 3, 5, 8, 30, 12, 345_000, tzinfo=dt.UTC)


def message_id(when: dt.datetime = MORNING) -> UUID:
    """A new message's id, accepted at `when`."""
    randomness = ids.new_id().int & ((1 << 80) - 1)
    return UUID(int=ids.lowest_id(when).int | randomness)


def accepted(
    customer: UUID, message: UUID, *, operator: str = "mci", segments: int = 2, cost: int = 200
) -> events.MessageAccepted:
    return events.MessageAccepted(
        message_id=ids.to_text(message),
        customer_id=ids.to_text(customer),
        accepted_at=ids.milliseconds(message),
        operator=operator,
        country="IR",
        encoding="ucs2",
        segments=segments,
        cost=cost,
        currency="IRR",
    )


def status(customer: UUID, message: UUID, name: str, *, after: int = 1000, attempt: int = 1) -> events.StatusChanged:
    """The message reached the status `name`, `after` milliseconds after it was accepted."""
    return events.StatusChanged(
        message_id=ids.to_text(message),
        customer_id=ids.to_text(customer),
        status=name,
        at=ids.milliseconds(message) + after,
        operator="irancell",
        attempt=attempt,
        segments=2,
        cost=200,
    )


def refund(customer: UUID, message: UUID, *, amount: int = 200) -> events.Refunded:
    return events.Refunded(
        message_id=ids.to_text(message),
        customer_id=ids.to_text(customer),
        amount=amount,
        at=ids.milliseconds(message) + 2000,
    )


def write(database: ClickHouse, *made: rows.ReportedEvent) -> None:
    """Insert the events as one batch, and compute the statistics, as the bridge does."""
    lines = [rows.read(events.encode(event), decode=decoder(event)) for event in made]
    columns = list(zip(*lines, strict=True))
    database.insert(rows.INSERT, columns)
    minutes = set(zip(columns[rows.CUSTOMER], columns[rows.MINUTE], strict=True))
    snapshots.compute_minutes(minutes, database=database)
    snapshots.compute_days({snapshots.day_of(minute) for minute in minutes}, database=database)


def decoder(event: rows.ReportedEvent) -> rows.Decoder:
    return events.decode_accepted if isinstance(event, events.MessageAccepted) else events.decode_status
