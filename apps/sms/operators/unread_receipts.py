"""Receipts that cannot be read: kept as dead letters with all their octets, and read again when they are replayed.

Their letters name the topic of receipts as the one they came from. So a replay brings them to settlement, which reads
them with the operator's settings of that time.
"""

from __future__ import annotations

from apps.sms import events
from apps.sms.operators.base import InvalidReceipt, Operator, Receipt
from smsgateway.config.kafka import Kafka
from smsgateway.kafka.client import Record

# A longer body is cut: Kafka takes events of one megabyte, and base64 adds a third.
LONGEST = 500_000


class StillUnreadable(Exception):
    """A replayed receipt that still cannot be read. Arguments: why, and the settings that would read it"""


def unread_record(unread: events.ReceiptUnread, *, config: Kafka) -> Record:
    """The dead letter of a receipt that cannot be read."""
    headers: list[tuple[str, str | bytes | None]] = [
        ("reason", reason_of(unread).encode()),
        ("source_topic", config.topic_receipts.encode()),
    ]
    if unread.came_back:
        headers.append(("replayed_from", config.topic_dead_letter.encode()))
    return Record(config.topic_dead_letter, unread.operator.encode(), events.encode(unread), headers)


def reason_of(unread: events.ReceiptUnread) -> str:
    """One line for the list of dead letters, with the setting that would read the receipt, if it is known."""
    advice = f" Set {setting_of(unread.operator, unread.hint)}." if unread.hint else ""
    return f"unreadable receipt of {unread.operator}: {unread.reason}.{advice}"


def setting_of(operator: str, hint: str) -> str:
    """The settings of a hint, with their full names."""
    prefix = f"OPERATOR_{operator.upper()}_"
    return " or ".join(
        " and ".join(prefix + setting for setting in together.split(" and ")) for together in hint.split(" or ")
    )


def unread_read(unread: events.ReceiptUnread, *, operator: Operator) -> list[Receipt]:
    """The receipts in a replayed letter. Raises StillUnreadable."""
    try:
        read = operator.read_unread(unread)
    except InvalidReceipt as fault:
        raise StillUnreadable(str(fault), fault.hint) from None
    wrong = [receipt for receipt in read if isinstance(receipt, InvalidReceipt) or _has_no_id(receipt)]
    if wrong:
        hints = [receipt.hint for receipt in wrong if isinstance(receipt, InvalidReceipt)]
        raise StillUnreadable(f"{len(wrong)} of {len(read)} receipts cannot be read", next(iter(hints), ""))
    return [receipt for receipt in read if isinstance(receipt, Receipt)]


def _has_no_id(receipt: Receipt | None) -> bool:
    return receipt is not None and receipt.reference is None and not receipt.operator_message_id
