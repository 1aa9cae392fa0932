"""The response bodies of send and batch. They are made before the charge, because they are recorded with it.

What only the charge knows is added afterwards, to the first response and to its replay alike: the balance, and where
the balance ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import msgspec

from apps.balance.errors import InsufficientBalance
from apps.sms import statuses
from apps.sms.accept.drafts import Draft, Drafted
from apps.sms.accept.service import Accepted
from smsgateway import ids
from smsgateway.http.field_errors import FieldError, fault

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
TIMES_REQUEST: Final = 10
"""A response describes refused items only up to so many times the length of its request, ..."""
_SHORT: Final = 16_384  # ... or this length.
_OTHER_MEMBERS: Final = 200  # as long as these are at most
_FIRST: Final = 100
MOST_ERRORS_OF_ITEM: Final = 10
_NO_BALANCE_LEFT = fault("", InsufficientBalance.code, "The balance ended before this message.")


def send_body(message_id: UUID, draft: Draft) -> str:
    """The response to a send, without its balance."""
    return _encode(_message(message_id, draft)).decode()


def batch_body(message_ids: Sequence[UUID], drafted: Drafted, *, longest: int) -> str:
    """The response to a batch, without its balance, as if the balance had covered all valid items.

    `longest`: see `results`.
    """
    accepted = iter(message_ids)
    shown = [item if isinstance(item, list) else _message(next(accepted), item) for item in drafted]
    return _encode(
        {
            "accepted": len(message_ids),
            "refused": len(drafted) - len(message_ids),
            "cost": sum(item.cost for item in drafted if not isinstance(item, list)),
            **results(shown, longest=longest),
        }
    ).decode()


def longest_of(body: bytes) -> int:
    """The length, in bytes, up to which the response to a request with this body describes refused items."""
    return max(TIMES_REQUEST * len(body), _SHORT)


def results(items: Sequence[dict[str, Any] | list[FieldError]], *, longest: int) -> dict[str, Any]:
    """The member `results` of the response to a batch or an estimate, and `more_refused` if something is left out.

    `items`: what is shown of each, or its errors if it is refused. If the response would be longer than `longest`
    bytes, it leaves out errors, and if that is not enough, refused items. The others are always shown.
    """
    complete = [_encode(_result(index, item)) for index, item in enumerate(items)]
    bare = {index: _encode(_result(index, [])) for index, item in enumerate(items) if isinstance(item, list)}
    shown = [b"" if index in bare else line for index, line in enumerate(complete)]
    left = longest - _OTHER_MEMBERS - sum(map(len, shown)) - len(shown)

    def show(index: int, line: bytes, *, reserve: int = 0) -> None:
        nonlocal left
        if len(line) - len(shown[index]) <= left - reserve:
            left -= len(line) - len(shown[index])
            shown[index] = line

    # The first errors have half of the room, then every item comes before further errors.
    reserve = left // 2
    for index in list(bare)[:_FIRST]:
        show(index, complete[index], reserve=reserve)
    for index, line in bare.items():
        if not shown[index]:
            show(index, line)
    for index in bare:
        show(index, complete[index])
    more_refused = sum(not items[index] or shown[index] != complete[index] for index in bare)
    listed = msgspec.Raw(b"[" + b",".join(filter(None, shown)) + b"]")
    return {"more_refused": more_refused, "results": listed} if more_refused else {"results": listed}


def _result(index: int, item: dict[str, Any] | list[FieldError]) -> dict[str, Any]:
    if not isinstance(item, list):
        return {"index": index, **item}
    found: dict[str, Any] = {"index": index, "status": "refused"}
    if item:
        found["errors"] = item[:MOST_ERRORS_OF_ITEM]
    if len(item) > MOST_ERRORS_OF_ITEM:
        found["more_errors"] = len(item) - MOST_ERRORS_OF_ITEM
    return found


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
    for place, result in enumerate(batch["results"]):
        if result["status"] == "refused":
            continue
        if left:
            left -= 1
            continue
        batch["cost"] -= result["cost"]
        batch["results"][place] = {"index": result["index"], "status": "refused", "errors": [_NO_BALANCE_LEFT]}
    batch["refused"] += batch["accepted"] - count
    batch["accepted"] = count
    return _encode(batch).decode()
