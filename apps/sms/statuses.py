"""The statuses of a message and their order.

The current status is the furthest one recorded, so that late and repeated events change nothing, in whatever order they
come. `delivered` stands last: if an operator first reports a failure and then a delivery, the phone has the message.
"""

from __future__ import annotations

from typing import Final

ACCEPTED: Final = "accepted"
SCHEDULED: Final = "scheduled"
QUEUED: Final = "queued"
SUBMITTED: Final = "submitted"
UNKNOWN: Final = "unknown"
CANCELED: Final = "canceled"
EXPIRED: Final = "expired"
REJECTED: Final = "rejected"
FAILED: Final = "failed"
UNDELIVERED: Final = "undelivered"
DELIVERED: Final = "delivered"

ORDER: Final = (
    ACCEPTED,
    SCHEDULED,
    QUEUED,
    SUBMITTED,
    UNKNOWN,
    CANCELED,
    EXPIRED,
    REJECTED,
    FAILED,
    UNDELIVERED,
    DELIVERED,
)
# What a message can have. Nobody writes QUEUED: until it is submitted, a message is accepted, or scheduled if it has
# `send_at`. It keeps its place in ORDER because ClickHouse stores the ranks.
REACHABLE: Final = tuple(status for status in ORDER if status != QUEUED)
RANK: Final = {status: rank for rank, status in enumerate(ORDER)}
FINAL: Final = frozenset({CANCELED, EXPIRED, REJECTED, FAILED, UNDELIVERED, DELIVERED})
REFUNDABLE: Final = frozenset({EXPIRED, REJECTED, FAILED, UNDELIVERED})
