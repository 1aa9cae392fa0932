"""The response bodies of send and batch. They are made before the charge, because they are recorded with it.

What only the charge knows is added afterwards, to the first response and to its replay alike: the balance, and where
the balance ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec

from apps.balance.errors import InsufficientBalance
from apps.sms import statuses
from apps.sms.accept.drafts import Draft, Drafted
from apps.sms.accept.service import Accepted
from smsgateway import ids
from smsgateway.http.field_errors import fault

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_NO_BALANCE_LEFT = fault("", InsufficientBalance.code, "The balance ended before this message.")


def send_body(message_id: UUID, draft: Draft) -> str:
    """The response to a send, without its balance."""
    return _encode(_message(message_id, draft)).decode()


def batch_body(message_ids: Sequence[UUID], drafted: Drafted) -> str:
    """The response to a batch, without its balance, as if the balance had covered all valid items."""
    results: list[dict[str, Any]] = []
    accepted = iter(message_ids)
    cost = 0
    for index, item in enumerate(drafted):
        if isinstance(item, list):
            results.append({"index": index, "status": "refused", "errors": item})
        else:
            results.append({"index": index, **_message(next(accepted), item)})
            cost += item.cost
    refused = len(drafted) - len(message_ids)
    body = {"accepted": len(message_ids), "refused": refused, "cost": cost, "results": results}
    return _encode(body).decode()


def _message(message_id: UUID, draft: Draft) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": ids.to_text(message_id),
        "status": statuses.ACCEPTED if draft.send_at is None else statuses.SCHEDULED,
        "to": draft.recipient,
        "encoding": draft.encoding,
        "segments": draft.segments,
        "cost": draft.cost,
    }
    if draft.send_at is not None:
        shown["send_at"] = ids.moment_of(draft.send_at)
    return shown


def complete(body: str, accepted: Accepted) -> str:
    """The body with the balance, and cut where the balance ended."""
    if accepted.cut_at is not None:
        body = _cut(body, accepted.cut_at)
    return f'{body[:-1]},"balance":{accepted.balance}}}'


def _cut(body: str, count: int) -> str:
    """A batch's response of which only the first `count` valid items were paid for."""
    batch = _decode(body)
    left = count
    for index, result in enumerate(batch["results"]):
        if result["status"] == "refused":
            continue
        if left:
            left -= 1
            continue
        batch["cost"] -= result["cost"]
        batch["results"][index] = {"index": index, "status": "refused", "errors": [_NO_BALANCE_LEFT]}
    batch["refused"] += batch["accepted"] - count
    batch["accepted"] = count
    return _encode(batch).decode()
