"""Valid messages, encoded and priced: what stands between a caller's wish and the charge."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import NamedTuple

from msgspec import UNSET

from apps.sms import encoding, numbers, senders
from apps.sms.accept import validation as faults
from apps.sms.accept.requests import Wishes
from smsgateway.config.groups import Sms
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
    """What a message is beside its recipient: the text and the sender as they are sent."""

    encoding: str
    segments: int
    expires_at: int
    text: str
    sender: str


class Drafter:
    """Makes drafts of one request: of one customer's prices, at one moment."""

    def __init__(self, *, config: Sms, price: Callable[[str], int], now: dt.datetime) -> None:
        """`price`: of a segment to an E.164 number."""
        self._config = config
        self._price = price
        self._now = now
        self._now_ms = _milliseconds(now)
        self._to_e164 = numbers.plan_of(config).to_e164
        self._last: tuple[Wishes, _Content | list[FieldError]] | None = None

    def draft(self, wanted: Wishes, to: str) -> Draft | list[FieldError]:
        """The message to one recipient, or everything that is wrong with it."""
        last = self._last
        content = last[1] if last is not None and last[0] is wanted else self._content(wanted)
        self._last = wanted, content
        try:
            recipient = self._to_e164(to)
        except numbers.NotMobile as reason:
            wrong = [faults.of_number(reason)]
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

    def drafts(self, items: Sequence[tuple[Wishes, str] | list[FieldError]]) -> Drafted:
        """For each item its draft, or what is wrong with it."""
        return [item if isinstance(item, list) else self.draft(*item) for item in items]

    def _content(self, wanted: Wishes) -> _Content | list[FieldError]:
        """What does not depend on the recipient."""
        config = self._config
        text = wanted.text
        if wanted.transliterate:
            text = encoding.prepare(text, transliterate=True, wish=wanted.encoding)
        wrong = faults.of_text(text, config)
        sender = wanted.sender
        if sender:
            try:
                sender = senders.sender_id(sender)
            except senders.InvalidSender as error:
                wrong.append(faults.of_sender(error))
        if wanted.reference:
            wrong += faults.CHECKS["reference"](wanted.reference, config)
        if wanted.callback_url:
            wrong += faults.of_callback_url(wanted.callback_url, config)
        if wanted.metadata is not UNSET:
            wrong += faults.of_metadata(wanted.metadata, config)
        starts = self._now_ms
        if wanted.send_at is not UNSET:
            wrong += faults.of_send_at(wanted.send_at, now=self._now)
            starts = _milliseconds(wanted.send_at)
        try:
            encoded = encoding.encode(text, wanted.encoding)
        except encoding.NotGsm7 as lacking:
            return [*wrong, fault("text", "not_gsm7", f"GSM 7-bit lacks {lacking}; let `encoding` be auto.")]
        if encoded.segments > wanted.max_segments:
            reason = f"It needs {encoded.segments} segments, at most {wanted.max_segments} are allowed."
            wrong.append(fault("text", "too_many_segments", reason))
        valid_for = config.validity if wanted.valid_for is UNSET else wanted.valid_for
        if wrong:
            return wrong
        return _Content(encoded.encoding, encoded.segments, starts + valid_for * 1000, text, sender)


def _milliseconds(moment: dt.datetime) -> int:
    return int(moment.timestamp() * 1000)
