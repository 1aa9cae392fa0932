"""Turns a caller's message into a draft: validated, encoded and priced, ready to be charged."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import NamedTuple

from msgspec import UNSET

from apps.sms import encoding, numbers, senders
from apps.sms.accept import validation
from apps.sms.accept.requests import MessageFields
from smsgateway.config.settings import Sms
from smsgateway.http.field_errors import FieldError, fault

Drafted = list["Draft | list[FieldError]"]


class Draft(NamedTuple):
    """A valid message, priced and ready to be charged. Times are milliseconds since 1970 UTC."""

    recipient: str
    sender: str
    text: str
    encoding: str
    segments: int
    cost: int
    expires_at: int
    reference: str = ""
    send_at: int | None = None
    priority: str = "normal"
    callback_url: str = ""
    metadata: dict[str, str] | None = None


class _Content(NamedTuple):
    """The parts of a draft that do not depend on the recipient: the text and the sender as they are sent."""

    encoding: str
    segments: int
    expires_at: int
    text: str
    sender: str


class Drafter:
    """Makes the drafts of one request, at one customer's prices and one moment."""

    def __init__(self, *, config: Sms, price: Callable[[str], int], now: dt.datetime) -> None:
        """`price`: what one segment to an E.164 number costs, in minor units."""
        self._config = config
        self._price = price
        self._now = now
        self._now_ms = _milliseconds(now)
        self._to_e164 = numbers.plan_of(config).to_e164
        self._last: tuple[MessageFields, _Content | list[FieldError]] | None = None

    def draft(self, wanted: MessageFields, to: str) -> Draft | list[FieldError]:
        """The draft of a message to one recipient, or all of its errors."""
        last = self._last
        content = last[1] if last is not None and last[0] is wanted else self._content(wanted)
        self._last = wanted, content
        try:
            recipient = self._to_e164(to)
        except numbers.NotMobile as reason:
            wrong = [validation.number_error(reason)]
            return wrong + content if isinstance(content, list) else wrong
        if isinstance(content, list):
            return content
        encoded, segments, expires_at, text, sender = content
        return Draft(
            recipient,
            sender,
            text,
            encoded,
            segments,
            segments * self._price(recipient),
            expires_at,
            wanted.reference,
            None if wanted.send_at is UNSET else _milliseconds(wanted.send_at),
            wanted.priority,
            wanted.callback_url,
            None if wanted.metadata is UNSET else wanted.metadata,
        )

    def drafts(self, items: Sequence[tuple[MessageFields, str] | list[FieldError]]) -> Drafted:
        """The draft of each item, or the item's errors."""
        return [item if isinstance(item, list) else self.draft(*item) for item in items]

    def _content(self, wanted: MessageFields) -> _Content | list[FieldError]:
        config = self._config
        text = wanted.text
        if wanted.transliterate:
            text = encoding.prepare(text, transliterate=True, wish=wanted.encoding)
        wrong = validation.text_errors(text, config)
        sender = wanted.sender
        if sender:
            try:
                sender = senders.sender_id(sender)
            except senders.InvalidSender as invalid:
                wrong.append(validation.sender_error(invalid))
        if wanted.reference:
            wrong += validation.reference_errors(wanted.reference, config)
        if wanted.callback_url:
            wrong += validation.callback_url_errors(wanted.callback_url, config)
        if wanted.metadata is not UNSET:
            wrong += validation.metadata_errors(wanted.metadata, config)
        starts = self._now_ms
        if wanted.send_at is not UNSET:
            wrong += validation.send_at_errors(wanted.send_at, now=self._now)
            starts = _milliseconds(wanted.send_at)
        try:
            encoded = encoding.encode(text, wanted.encoding)
        except encoding.NotGsm7 as lacking:
            reason = f"GSM 7-bit lacks {lacking}; set `encoding` to auto."
            return [*wrong, fault("text", "not_gsm7", reason)]
        if encoded.segments > wanted.max_segments:
            reason = f"It needs {encoded.segments} segments, at most {wanted.max_segments} are allowed."
            wrong.append(fault("text", "too_many_segments", reason))
        valid_for = config.validity if wanted.valid_for is UNSET else wanted.valid_for
        if wrong:
            return wrong
        return _Content(encoded.encoding, encoded.segments, starts + valid_for * 1000, text, sender)


def _milliseconds(moment: dt.datetime) -> int:
    return int(moment.timestamp() * 1000)
