"""The bodies of callbacks: the event, and the message as `GET /v1/sms/{id}` shows it when the callback is sent."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from apps.sms.callbacks.rows import Claimed
from apps.sms.messages.representation import message_detail
from apps.sms.messages.selectors import messages_with_history
from apps.sms.models import Callback
from smsgateway import ids, json


def event_type(event: str) -> str:
    """The `type` of a callback, such as `message.delivered`."""
    if event == Callback.LOW_BALANCE:
        return event
    return "callback.test" if event == Callback.TEST else f"message.{event}"


def bodies(claimed: Iterable[Claimed]) -> dict[UUID, bytes]:
    """The body of each callback, by its id. Callbacks whose message is no longer stored have none."""
    rows = list(claimed)
    found = messages_with_history(message_ids={row.message_id for row in rows if row.message_id is not None})
    messages = {message.id: message_detail(message, history=history) for message, history in found}
    encoded = {}
    for row in rows:
        if row.message_id is None:
            data = json.decode(row.data) if row.data else {"customer_id": ids.to_text(row.customer_id)}
            encoded[row.id] = _body(row.event, row.at, data)
        elif row.message_id in messages:
            encoded[row.id] = _body(row.event, row.at, messages[row.message_id])
    return encoded


def _body(event: str, at: dt.datetime, data: dict[str, Any]) -> bytes:
    return json.encode({"type": event_type(event), "timestamp": at, "data": data})
