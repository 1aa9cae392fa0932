"""The statuses of a message and their order.

The current status is the furthest one recorded, so late and repeated events change nothing, in any order. `delivered`
is last: if an operator first reports a failure and then a delivery, the phone has the message.

`queued` is a message that an operator did not accept and that is tried again: its entry is of the last try.
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
RANK: Final = {status: rank for rank, status in enumerate(ORDER)}
FINAL: Final = frozenset({CANCELED, EXPIRED, REJECTED, FAILED, UNDELIVERED, DELIVERED})
REFUNDABLE: Final = frozenset({EXPIRED, REJECTED, FAILED, UNDELIVERED})
