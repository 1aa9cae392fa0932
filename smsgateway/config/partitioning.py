"""Settings of the partitions: how long each partitioned table is, how long its rows stay, where they go then."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, ClassVar, Final

from smsgateway.config.declare import setting

SEND_AHEAD_DAYS: Final = 30
"""So far ahead a message may be scheduled."""
_LONGEST: Final = 36_500


def _interval(of: str) -> Any:
    return setting(f"Span of a partition of {of}.", default="day", choices=("day", "month"))


def _keep(of: str, default: int) -> Any:
    return setting(
        f"Partitions of {of} are archived so long after their end; 0 keeps them for ever.",
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
        "Partitions are made so far ahead; an insert beyond the last one fails.",
        default=14,
        unit="days",
        minimum=4,
        maximum=366,
    )
    archive: str = setting(
        "Where old partitions go: a folder that outlives this machine's process, or s3://BUCKET/FOLDER?region=…"
        " (&scheme=http&endpoint_override=HOST:PORT for a server of your own; keys by AWS_…); empty: none is archived.",
        default="",
        pattern=r"(/.+|s3://[^/\s]+.*)?",
    )
    messages_interval: str = _interval("messages")
    messages_keep_days: int = _keep("messages", 90)
    statuses_interval: str = _interval("the status log")
    statuses_keep_days: int = _keep("the status log (never before their messages)", 90)
    ledger_interval: str = _interval("the ledger")
    ledger_keep_days: int = _keep("the ledger (never before the messages it paid)", 400)
    submits_interval: str = _interval("the submits that receipts are matched with")
    submits_keep_days: int = _keep("the submits that receipts are matched with", 45)


def complaints(partitions: Partitions, *, validity: int, receipt_wait: int, match_days: int) -> Iterator[str]:
    """What is wrong with how long rows stay. `validity` in seconds, `receipt_wait` in hours.

    A message may be scheduled, then wait for its operator as long as it is valid, then for its receipt: until then it
    may be refunded, and the row that keeps this to once is in its partitions.
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
