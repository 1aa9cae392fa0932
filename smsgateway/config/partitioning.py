"""The settings of partitions: their span, how long they are kept, where they are archived."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, ClassVar, Final

from smsgateway.config.setting_field import setting

SEND_AHEAD_DAYS: Final = 30
"""How many days ahead a message may be scheduled."""
_LONGEST: Final = 36_500


def _interval(of: str) -> Any:
    return setting(f"Time that one partition of {of} covers.", default="day", choices=("day", "month"))


def _keep(of: str, default: int, *, after: str = "") -> Any:
    order = f", but not before {after}" if after else ""
    return setting(
        f"How long after its end a partition of {of} is archived{order}; 0: never.",
        default=default,
        unit="days",
        minimum=0,
        maximum=_LONGEST,
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Partitions:
    title: ClassVar[str] = "Partitions and their archive"
    prefix: ClassVar[str] = "PARTITION_"

    days_ahead: int = setting(
        "How far ahead partitions are created; an insert beyond the last one fails.",
        default=14,
        unit="days",
        minimum=4,
        maximum=366,
    )
    archive: str = setting(
        "Where old partitions are archived: a folder on lasting storage, or s3://BUCKET/FOLDER?region=…"
        " (with &scheme=http&endpoint_override=HOST:PORT for your own server; keys in AWS_…). Empty: no archive.",
        default="",
        pattern=r"(/.+|s3://[^/\s]+.*)?",
    )
    messages_interval: str = _interval("messages")
    messages_keep_days: int = _keep("messages", 90)
    statuses_interval: str = _interval("the status log")
    statuses_keep_days: int = _keep("the status log", 90, after="its messages")
    ledger_interval: str = _interval("the ledger")
    ledger_keep_days: int = _keep("the ledger", 400, after="the messages that it charged")
    submits_interval: str = _interval("submits, kept to match receipts,")
    submits_keep_days: int = _keep("submits, kept to match receipts,", 45)


def complaints(partitions: Partitions, *, validity: int, receipt_wait: int, match_days: int) -> Iterator[str]:
    """Yield a sentence for each table that is archived too early. `validity` in seconds, `receipt_wait` in hours.

    A message may wait for its scheduled time, then for its operator while it is valid, then for its receipt. Until then
    it may be refunded, and the rows that prevent a second refund are in these partitions.
    """
    receipts = max(math.ceil(receipt_wait / 24), match_days) + 1
    needed = SEND_AHEAD_DAYS + math.ceil(validity / 86_400) + receipts
    for name, keep, least in (
        ("MESSAGES", partitions.messages_keep_days, needed),
        ("STATUSES", partitions.statuses_keep_days, needed),
        ("LEDGER", partitions.ledger_keep_days, needed),
        ("SUBMITS", partitions.submits_keep_days, receipts),
    ):
        if 0 < keep < least:
            yield (
                f"PARTITION_{name}_KEEP_DAYS is {keep}, less than the {least} days within which a message may still"
                " change (scheduling, SMS_VALIDITY, RECEIPT_WAIT, RECEIPT_MATCH_DAYS)."
            )
