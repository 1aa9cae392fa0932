"""Responses about messages, as typed structs. They describe what the views write; nothing is built from them."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec

from apps.sms import statuses
from smsgateway.http.openapi import Amount, Currency, FieldFault, Moment, Ulid

Maybe = msgspec.UnsetType
UNSET = msgspec.UNSET


class MessageStatus(StrEnum):
    """The status of a message."""

    ACCEPTED = statuses.ACCEPTED
    SCHEDULED = statuses.SCHEDULED
    QUEUED = statuses.QUEUED
    SUBMITTED = statuses.SUBMITTED
    UNKNOWN = statuses.UNKNOWN
    CANCELED = statuses.CANCELED
    EXPIRED = statuses.EXPIRED
    REJECTED = statuses.REJECTED
    FAILED = statuses.FAILED
    UNDELIVERED = statuses.UNDELIVERED
    DELIVERED = statuses.DELIVERED


class Encoding(StrEnum):
    """How the text is encoded: the GSM 7-bit alphabet, or UCS-2."""

    GSM7 = "gsm7"
    UCS2 = "ucs2"


class SendAnswer(msgspec.Struct):
    """The message is charged and stored. `balance`: after the charge, in minor units."""

    id: Ulid
    status: Literal["accepted", "scheduled"]
    to: str
    encoding: Encoding
    segments: int
    cost: Amount
    balance: Amount
    send_at: Moment | Maybe = UNSET


class BatchResult(msgspec.Struct):
    """One item: accepted with its id, or refused with its errors, up to 10 (`more_errors`: how many more)."""

    index: int
    status: Literal["accepted", "scheduled", "refused"]
    id: Ulid | Maybe = UNSET
    to: str | Maybe = UNSET
    encoding: Encoding | Maybe = UNSET
    segments: int | Maybe = UNSET
    cost: Amount | Maybe = UNSET
    send_at: Moment | Maybe = UNSET
    errors: list[FieldFault] | Maybe = UNSET
    more_errors: int | Maybe = UNSET


class BatchAnswer(msgspec.Struct):
    """The result of each item, and the total cost.

    `more_refused`: so many refused items have no `errors`, or no result at all, because the response would be longer
    than ten times its request.
    """

    accepted: int
    refused: int
    cost: Amount
    results: list[BatchResult]
    balance: Amount
    more_refused: int | Maybe = UNSET


class Estimate(msgspec.Struct):
    """What one item would cost, and the operator it would go to."""

    index: int
    status: Literal["valid", "refused"]
    to: str | Maybe = UNSET
    encoding: Encoding | Maybe = UNSET
    segments: int | Maybe = UNSET
    cost: Amount | Maybe = UNSET
    operator: str | Maybe = UNSET
    errors: list[FieldFault] | Maybe = UNSET
    more_errors: int | Maybe = UNSET


class EstimateAnswer(msgspec.Struct):
    """What a batch would cost. Nothing is charged. `more_refused`: as in the response to a batch."""

    cost: Amount
    currency: Currency
    balance: Amount
    results: list[Estimate]
    more_refused: int | Maybe = UNSET


class HistoryEntry(msgspec.Struct):
    """A status that the message reached, and when. Only `scheduled` has `send_at`."""

    status: MessageStatus
    at: Moment
    operator: str | Maybe = UNSET
    operator_message_id: str | Maybe = UNSET
    error: str | Maybe = UNSET
    attempt: int | Maybe = UNSET
    refunded: Amount | Maybe = UNSET
    send_at: Moment | Maybe = UNSET


class ListedMessage(msgspec.Struct, kw_only=True, rename={"sender": "from"}):
    """A message with its current status."""

    id: Ulid
    customer_id: Ulid
    status: MessageStatus
    accepted_at: Moment
    to: str
    sender: str
    text: str
    encoding: Encoding
    segments: int
    cost: Amount
    refunded: Amount
    operator: str
    priority: Literal["otp", "normal", "bulk"]
    reference: str
    send_at: Moment | None
    expires_at: Moment
    callback_url: str
    metadata: dict[str, str]


class MessageAnswer(ListedMessage, kw_only=True, rename={"sender": "from"}):
    """A message with its status history."""

    history: list[HistoryEntry]


class MessagesAnswer(msgspec.Struct):
    """A page of messages, newest first. `next_cursor` gets the next page."""

    messages: list[ListedMessage]
    next_cursor: str | None


class CancelAnswer(msgspec.Struct):
    """The message is canceled. `refunded`: the amount returned to the balance."""

    id: Ulid
    status: Literal["canceled"]
    refunded: Amount
    balance: Amount
