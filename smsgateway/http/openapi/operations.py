"""Describes the operations of the OpenAPI documents, and the parts that all operations share.

Bodies and responses are described by the msgspec structs that read and write them, errors by their classes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, NamedTuple, TypeVar

import msgspec
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from msgspec import Meta, UnsetType

from smsgateway import errors
from smsgateway.http import problems
from smsgateway.http.openapi.headers import (
    ACCEPT,
    ACCEPT_ENCODING,
    CACHE_CONTROL,
    RATE_LIMIT,
    RATE_LIMIT_POLICY,
    REQUEST_ID,
    RETRY_AFTER,
    WWW_AUTHENTICATE,
    Header,
)
from smsgateway.http.openapi.schemas import Amount, Moment, reference

View = TypeVar("View", bound=Callable[..., Any])

API_KEY: Final = "apiKey"
_EXAMPLE_REQUEST: Final = "01M85WA82TVPF9V9XAN1T7E1PA"
_ANYWHERE: Final = (
    errors.InvalidRequest,
    errors.MalformedRequest,
    errors.UnknownHost,
    errors.NotFound,
    errors.UriTooLong,
    errors.HeadersTooLarge,
    errors.GatewayError,
    errors.DatabaseUnavailable,
    errors.Overloaded,
)
_WITH_BODY: Final = (errors.RequestTimeout, errors.BodyTooLarge, errors.UnsupportedMediaType)


class FieldFault(msgspec.Struct):
    """One wrong field: its name as the caller wrote it, a stable code, and a reason for people."""

    field: str
    code: Annotated[str, Meta(description="Stable. New codes may be added.", examples=["missing"])]
    reason: str


class Problem(msgspec.Struct, rename={"errors_": "errors"}):
    """A problem document (RFC 9457). Programs should use `code`, which is stable; the texts are for people."""

    type: Annotated[str, Meta(examples=["urn:smsgateway:problem:insufficient_balance"])]
    title: str
    status: int
    code: Annotated[str, Meta(description="Stable. New codes may be added.")]
    detail: str
    request_id: str
    errors_: (
        Annotated[
            list[FieldFault],
            Meta(description="`invalid_request`: every wrong field, up to 100.", extra_json_schema={"maxItems": 100}),
        ]
        | UnsetType
    ) = msgspec.UNSET
    more_errors: Annotated[int, Meta(description="How many more errors there are than `errors` lists.")] | UnsetType = (
        msgspec.UNSET
    )
    balance: Amount | UnsetType = msgspec.UNSET
    cost: Amount | UnsetType = msgspec.UNSET
    accepted_at: Moment | UnsetType = msgspec.UNSET
    archived_at: Moment | UnsetType = msgspec.UNSET


class Described(NamedTuple):
    """What drf-spectacular cannot describe; it is added to the operation when the document is built."""

    problems: tuple[type[errors.GatewayError], ...]
    headers: tuple[Header, ...]
    links: dict[str, Any]


DESCRIBED: Final[dict[str, Described]] = {}
KINDS: Final[set[type[msgspec.Struct]]] = {Problem}
# Names of the schemas that callers send.
REQUESTS: Final[set[str]] = set()


def operation(
    name: str,
    summary: str,
    *,
    description: str = "",
    answer: type[msgspec.Struct] | None = None,
    answers: Sequence[OpenApiExample] = (),
    files: Sequence[str] = (),
    body: type[msgspec.Struct] | dict[str, Any] | None = None,
    media_types: Sequence[str] = ("application/json",),
    problems_of: Sequence[type[errors.GatewayError]] = (),
    parameters: Sequence[OpenApiParameter] = (),
    headers: Sequence[Header] = (),
    examples: Sequence[OpenApiExample] = (),
    links: dict[str, Any] | None = None,
    tag: str = "messages",
    security: Sequence[dict[str, list[str]]] = ({API_KEY: []}, {}),
) -> Callable[[View], View]:
    """Describe a view's method. `name`: the operation's id, a verb and what it acts on, in camel case.

    `body`: a struct, or a union by `one_of`, in any of the `media_types`. It gives an `answer`, or a file of one of the
    media types `files`. `headers`: of the answer, beside the common ones. `problems_of`: the errors that are its own;
    the common ones are added.
    """
    kinds = [*problems_of, *_ANYWHERE, *(_WITH_BODY if body else ())]
    DESCRIBED[name] = Described(tuple(kinds), tuple(headers), links or {})
    responses: dict[Any, Any] = {(200, kind): OpenApiResponse({"type": "string"}, "The file.") for kind in files}
    if answer:
        KINDS.add(answer)
        responses[200, "application/json"] = OpenApiResponse(reference(answer), "Done.", list(answers))
    for status, group in itertools.groupby(sorted(kinds, key=_status), key=_status):
        responses[status, problems.CONTENT_TYPE] = _problem_response(list(group))
    request: Any = None
    if body:
        if not isinstance(body, dict):
            KINDS.add(body)
            body = reference(body)
        REQUESTS.add(body["$ref"].rpartition("/")[2])
        request = dict.fromkeys(media_types, body)
    return extend_schema(
        operation_id=name,
        summary=summary,
        description=description or f"{summary}.",
        tags=[tag],
        request=request,
        responses=responses,
        parameters=[REQUEST_ID_PARAMETER, *parameters],
        examples=list(examples),
        auth=list(security),  # type: ignore[arg-type]  # a security requirement is an object
    )


def _status(kind: type[errors.GatewayError]) -> int:
    return kind.status


def _problem_response(kinds: list[type[errors.GatewayError]]) -> OpenApiResponse:
    titles = "; ".join(f"`{kind.code}`: {_title(kind)}" for kind in kinds)
    examples = [
        OpenApiExample(
            kind.code, problem_example(kind), status_codes=[str(kind.status)], media_type=problems.CONTENT_TYPE
        )
        for kind in kinds
    ]
    return OpenApiResponse(reference(Problem), titles, examples)


def problem_example(kind: type[errors.GatewayError]) -> dict[str, Any]:
    """An example of a problem document for this error."""
    members: dict[str, Any] = {}
    if kind is errors.InvalidRequest:
        members = {"errors": [{"field": "text", "code": "missing", "reason": "This field is required."}]}
    return {
        "type": f"urn:smsgateway:problem:{kind.code}",
        "title": _title(kind),
        "status": kind.status,
        "code": kind.code,
        "detail": f"{_title(kind)}.",
        **members,
        "request_id": _EXAMPLE_REQUEST,
    }


def _title(kind: type[errors.GatewayError]) -> str:
    return (kind.__doc__ or "").strip()


def headers_of(described: Described, status: str) -> list[Header]:
    """The headers of an operation's response with this status."""
    found = [REQUEST_ID]
    if status == "200":
        return [*found, *described.headers]
    if CACHE_CONTROL in described.headers:
        found.append(CACHE_CONTROL)
    if any(kind.retryable for kind in described.problems if str(kind.status) == status):
        found.append(RETRY_AFTER)
    if status == "401":
        found.append(WWW_AUTHENTICATE)
    if status == "415":
        found += [ACCEPT, ACCEPT_ENCODING]
    if status == "429":
        found += [RATE_LIMIT_POLICY, RATE_LIMIT]
    return found


def query_parameter(
    name: str, description: str, schema: dict[str, Any] | None = None, *, required: bool = False
) -> OpenApiParameter:
    """A query parameter."""
    return OpenApiParameter(
        name, schema or {"type": "string"}, OpenApiParameter.QUERY, required=required, description=description
    )


REQUEST_ID_PARAMETER: Final = OpenApiParameter(
    "X-Request-ID",
    {"type": "string", "examples": ["order-17"]},
    OpenApiParameter.HEADER,
    description="Your own id for this request, which every log line of it has: at most 100 letters, digits and `._:-`. "
    "The gateway replaces an invalid id by its own.",
)
IDEMPOTENCY_KEY: Final = OpenApiParameter(
    "Idempotency-Key",
    {
        "type": "string",
        "pattern": r'^([!#-+\--~]{1,255}|"[ !#-\[\]-~]{1,255}")$',
        "examples": ["order-17-code"],
    },
    OpenApiParameter.HEADER,
    description="Your own key for this request. It then has an effect only once, even if sent again within 24 hours.",
)

# A date alone is accepted too. One format, not a choice of two: generators then give the parameter a time's type.
MOMENT: Final = {"type": "string", "format": "date-time", "examples": ["2026-11-01T00:00:00Z"]}
PAGE: Final = (
    query_parameter(
        "from",
        "Start of the range: a time with its offset, or a date (midnight in UTC). Default: 31 days before `to`.",
        MOMENT,
    ),
    query_parameter(
        "to",
        "End of the range, which is not included: a time with its offset, or a date. Default: now. The range may span "
        "at most 92 days.",
        MOMENT,
    ),
    query_parameter("limit", "Items in a page.", {"type": "integer", "minimum": 1, "maximum": 500, "default": 50}),
    query_parameter(
        "cursor", "The `next_cursor` of the previous page.", {"type": "string", "pattern": "^[A-Za-z0-9_-]{21}[AQgw]$"}
    ),
)
