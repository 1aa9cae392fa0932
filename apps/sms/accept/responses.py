"""The bodies of answers to send and batch, made before the charge is known: with it they are recorded (see `Once`).

What only the charge knows is put in afterwards, for the first answer and for its replay alike: the balance, and where
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


def of_message(message_id: UUID, draft: Draft) -> dict[str, Any]:
    """What is told of a message that was accepted."""
    told: dict[str, Any] = {
        "id": ids.to_text(message_id),
        "status": statuses.ACCEPTED if draft.send_at is None else statuses.SCHEDULED,
        "to": draft.recipient,
        "encoding": draft.encoding,
        "segments": draft.segments,
        "cost": draft.cost,
    }
    if draft.send_at is not None:
        told["send_at"] = ids.moment_of(draft.send_at)
    return told


def of_send(message_id: UUID, draft: Draft) -> str:
    """The answer to a send, but for its balance."""
    return _encode(of_message(message_id, draft)).decode()


def of_batch(message_ids: Sequence[UUID], drafted: Drafted) -> str:
    """The answer to a batch, but for its balance, as if the balance had covered all valid items."""
    results: list[dict[str, Any]] = []
    accepted = iter(message_ids)
    cost = 0
    for index, item in enumerate(drafted):
        if isinstance(item, list):
            results.append({"index": index, "status": "refused", "errors": item})
        else:
            results.append({"index": index, **of_message(next(accepted), item)})
            cost += item.cost
    refused = len(drafted) - len(message_ids)
    told = {"accepted": len(message_ids), "refused": refused, "cost": cost, "results": results}
    return _encode(told).decode()


def complete(body: str, accepted: Accepted) -> str:
    """The body with what only the charge knows."""
    if accepted.cut_at is not None:
        body = _cut(body, accepted.cut_at)
    return f'{body[:-1]},"balance":{accepted.balance}}}'


def _cut(body: str, count: int) -> str:
    """A batch's answer of which only the first `count` valid items were paid for."""
    told = _decode(body)
    left = count
    for index, result in enumerate(told["results"]):
        if result["status"] == "refused":
            continue
        if left:
            left -= 1
            continue
        told["cost"] -= result["cost"]
        told["results"][index] = {"index": index, "status": "refused", "errors": [_NO_BALANCE_LEFT]}
    told["refused"] += told["accepted"] - count
    told["accepted"] = count
    return _encode(told).decode()


_NO_BALANCE_LEFT = fault("", InsufficientBalance.code, "The balance ended before this message.")
