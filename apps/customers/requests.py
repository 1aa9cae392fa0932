"""Bodies of the requests and responses about callback endpoints, as typed structs."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from apps.customers.callback_endpoints import DEFAULT_STATUSES, Status
from apps.customers.callback_urls import LONGEST
from smsgateway.http.openapi import Moment, Ulid


class EndpointRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Body of `PUT /v1/customers/{id}/callback`."""

    url: Annotated[
        str,
        Meta(
            max_length=LONGEST,
            description="Your https URL.",
            examples=["https://shop.example/sms"],
            extra_json_schema={"format": "uri"},
        ),
    ]
    statuses: Annotated[
        list[Status],
        Meta(min_length=1, max_length=20, description="Statuses to send. Default: every final one, and `unknown`."),
    ] = msgspec.field(default_factory=lambda: list(DEFAULT_STATUSES))
    enabled: Annotated[bool, Meta(description="false: keep the endpoint and send nothing.")] = True


class Secret(msgspec.Struct):
    """A secret that signs callbacks. The secret itself is not shown again."""

    created_at: Moment
    expires_at: Moment | None


class Endpoint(msgspec.Struct, kw_only=True):
    """The endpoint. Only the response to the first PUT has `secret`.

    `paused_until`: all recent calls have failed; the next call, a probe, is at this time.
    """

    customer_id: Ulid
    url: str
    statuses: list[Status]
    enabled: bool
    disabled_at: Moment | None
    disabled_reason: str
    paused_until: Moment | None
    secrets: list[Secret]
    secret: str | UnsetType = UNSET


class RotatedSecret(msgspec.Struct):
    """The new secret, shown only now. The previous ones sign as well until `previous_valid_until`."""

    secret: str
    previous_valid_until: Moment
