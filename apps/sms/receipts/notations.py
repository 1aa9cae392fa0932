"""Receipts that wait because their operator writes ids in another form than in its responses to submits.

Such a receipt would wait for days and say nothing. A sample of those that wait is compared with the submits in other
forms, so that somebody learns which setting is missing. Nothing is matched by that: a guess could take one message for
another.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

import structlog

from apps.sms.models import WaitingReceipt
from apps.sms.operators.message_ids import other_forms
from apps.sms.operators.unread_receipts import setting_of
from apps.sms.receipts.parts import parts_find
from smsgateway import ids
from smsgateway.metrics import RECEIPTS_IN_ANOTHER_FORM

log = structlog.get_logger(__name__)

# A receipt that came before its submit was recorded waits for seconds.
PATIENCE: Final = dt.timedelta(minutes=10)
_SAMPLE: Final = 20


def notations_compare(*, days: int, patience: dt.timedelta = PATIENCE, limit: int = _SAMPLE) -> int:
    """Compare the newest receipts that have waited for `patience` with the submits of the last `days`. Log and count
    those whose id has another form there; return how many."""
    before = ids.lowest_id(dt.datetime.now(tz=dt.UTC) - patience)
    waiting = WaitingReceipt.objects.filter(id__lt=before, reference__isnull=True).order_by("-id")[:limit]
    keys: list[tuple[str, str]] = []
    origins: list[tuple[str, str, str]] = []
    for receipt in waiting:
        for form, hint in other_forms(receipt.operator_message_id).items():
            keys.append((receipt.operator, form))
            origins.append((receipt.operator, receipt.operator_message_id, hint))
    reported: dict[tuple[str, str], tuple[str, str]] = {}
    for position in sorted(parts_find(keys, days=days)):
        operator, receipt_id, hint = origins[position]
        reported.setdefault((operator, receipt_id), (keys[position][1], hint))
    for (operator, receipt_id), (form, hint) in reported.items():
        RECEIPTS_IN_ANOTHER_FORM.labels(operator).inc()
        log.warning(
            "receipt_id_in_another_form",
            operator=operator,
            in_receipt=receipt_id,
            in_response=form,
            setting=setting_of(operator, hint),
        )
    return len(reported)
