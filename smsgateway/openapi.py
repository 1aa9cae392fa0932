"""The OpenAPI document: how an operation is described, and what all operations share.

Bodies and answers are described by the msgspec structs that read and tell them; errors by their classes.
"""

from __future__ import annotations

import datetime as dt
import functools
import itertools
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import drf_spectacular_sidecar
import msgspec
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema

from smsgateway import errors, json, problems

View = TypeVar("View", bound=Callable[..., Any])

_REFERENCE: Final = "#/components/schemas/{name}"
_STRUCTS: set[type[msgspec.Struct]] = set()
_LINKS: dict[str, dict[str, Any]] = {}
API: Final = "smsgateway.urls.api"
REPORTING: Final = "smsgateway.urls.reporting"
_ABOUT: Final[dict[str, dict[str, str]]] = {
    API: {},
    REPORTING: {
        "title": "SMS gateway: reports",
        "description": "What happened to the messages and what it cost: exact after any replay. "
        "Amounts are whole minor units.",
    },
}
_ANYWHERE: Final = (
    errors.InvalidRequest,
    errors.MalformedRequest,
    errors.NotFound,
    errors.UriTooLong,
    errors.HeadersTooLarge,
    errors.GatewayError,
    errors.DatabaseUnavailable,
)
_WITH_BODY: Final = (errors.BodyTooLarge, errors.UnsupportedMediaType)
_REDOC: Final = Path(drf_spectacular_sidecar.__file__).parent.joinpath(
    "static/drf_spectacular_sidecar/redoc/bundles/redoc.standalone.js"
)
_PAGE: Final = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>SMS gateway: {title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"></head>
<body style="margin:0"><redoc spec-url="/v1/openapi.json"></redoc>
<script src="/docs/redoc.js"></script></body></html>"""


MinorUnits = Annotated[
    int,
    msgspec.Meta(
        description="A whole number of minor units of the currency, with the decimals of ISO 4217: "
        "1250 is 12.50 EUR, 12.50 IRR, 1250 JPY or 1.250 KWD."
    ),
]


class FieldFault(msgspec.Struct):
    """One wrong field: its name as the caller wrote it, a stable code, the reason for people."""

    field: str
    code: str
    reason: str


class Problem(msgspec.Struct, rename={"errors_": "errors"}):
    """A problem document (RFC 9457). `code` is stable."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    request_id: str
    errors_: list[FieldFault] | msgspec.UnsetType = msgspec.UNSET
    balance: MinorUnits | msgspec.UnsetType = msgspec.UNSET
    cost: MinorUnits | msgspec.UnsetType = msgspec.UNSET
    accepted_at: dt.datetime | msgspec.UnsetType = msgspec.UNSET
    archived_at: dt.datetime | msgspec.UnsetType = msgspec.UNSET


def operation(
    name: str,
    summary: str,
    *,
    answer: type[msgspec.Struct] | None = None,
    files: Sequence[str] = (),
    body: Sequence[type[msgspec.Struct]] = (),
    problems_of: Sequence[type[errors.GatewayError]] = (),
    parameters: Sequence[OpenApiParameter] = (),
    examples: Sequence[OpenApiExample] = (),
    links: dict[str, Any] | None = None,
    tag: str = "messages",
) -> Callable[[View], View]:
    """Describe a view's method. `problems_of`: the errors that are its own; the common ones are added.

    It gives an `answer`, or a file of one of these media types.
    """
    _STRUCTS.update((Problem, *body, *([answer] if answer else ())))
    if links:
        _LINKS[name] = links
    told = [*problems_of, *_ANYWHERE, *(_WITH_BODY if body else ())]
    responses: dict[Any, Any] = {(200, kind): OpenApiResponse({"type": "string"}, "The file.") for kind in files}
    if answer:
        responses[200, "application/json"] = OpenApiResponse(_reference(answer), "Done.")
    for status, group in itertools.groupby(sorted(told, key=_status), key=_status):
        responses[status, problems.CONTENT_TYPE] = _problem_response(list(group))
    request: Any = None
    if body:
        schemas = [_reference(kind) for kind in body]
        request = {"application/json": schemas[0] if len(schemas) == 1 else {"anyOf": schemas}}
    return extend_schema(
        operation_id=name,
        summary=summary,
        tags=[tag],
        request=request,
        responses=responses,
        parameters=[REQUEST_ID, *parameters],
        examples=list(examples),
        auth=[{"apiKey": []}, {}],  # type: ignore[list-item]  # a security requirement is an object
    )


def _status(kind: type[errors.GatewayError]) -> int:
    return kind.status


def _problem_response(kinds: list[type[errors.GatewayError]]) -> OpenApiResponse:
    examples = [
        OpenApiExample(
            kind.code,
            {
                "type": f"urn:smsgateway:problem:{kind.code}",
                "title": (kind.__doc__ or "").strip(),
                "status": kind.status,
                "code": kind.code,
                "detail": (kind.__doc__ or "").strip() + ".",
                "request_id": "01M85WA82TVPF9V9XAN1T7E1PA",
            },
            status_codes=[str(kind.status)],
            media_type=problems.CONTENT_TYPE,
        )
        for kind in kinds
    ]
    told = "; ".join(f"`{kind.code}`: {(kind.__doc__ or '').strip()}" for kind in kinds)
    return OpenApiResponse(_reference(Problem), told, examples)


def _reference(kind: type[msgspec.Struct]) -> dict[str, Any]:
    return {"$ref": _REFERENCE.format(name=kind.__name__)}


def query_parameter(name: str, description: str, schema: dict[str, Any] | None = None) -> OpenApiParameter:
    """A parameter of a list."""
    return OpenApiParameter(name, schema or {"type": "string"}, OpenApiParameter.QUERY, description=description)


REQUEST_ID: Final = OpenApiParameter(
    "X-Request-ID",
    {"type": "string"},
    OpenApiParameter.HEADER,
    description="Your own id of this request, found in every log line of it; letters, digits, `._:-`, at most 100.",
)
IDEMPOTENCY_KEY: Final = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "pattern": r"^([!#-+\--~]{1,255}|\"[ !#-\[\]-~]{1,255}\")$"},
    OpenApiParameter.HEADER,
    description="A key of your own: the request is done once, however often it is sent within 24 hours.",
)


_MOMENT: Final = {"type": "string", "anyOf": [{"format": "date-time"}, {"format": "date"}]}
PAGE: Final = (
    query_parameter(
        "from", "The first moment: a date, or a time with its offset. If left out 31 days before `to`.", _MOMENT
    ),
    query_parameter("to", "The moment after the last; now if left out. The range may span 92 days.", _MOMENT),
    query_parameter("limit", "Items in a page.", {"type": "integer", "minimum": 1, "maximum": 500, "default": 50}),
    query_parameter(
        "cursor", "The `next_cursor` of the page before.", {"type": "string", "pattern": "^[A-Za-z0-9_-]{21}[AQgw]$"}
    ),
)


def add_shared_parts(result: dict[str, Any], **_options: Any) -> dict[str, Any]:
    """drf-spectacular's postprocessing hook: the structs' schemas, the links, the key."""
    _, components = msgspec.json.schema_components(
        sorted(_STRUCTS, key=lambda kind: kind.__name__), ref_template=_REFERENCE
    )
    shared = result.setdefault("components", {})
    shared["schemas"] = {name: components[name] for name in sorted(_named(result["paths"], components))}
    if batch := shared["schemas"].get("BatchRequest"):
        messages = batch["properties"]["messages"]
        messages["items"] = {
            "anyOf": [messages["items"], {"description": "Anything else is refused, by itself alone."}]
        }
    shared["securitySchemes"] = {
        "apiKey": {"type": "http", "scheme": "bearer", "description": "An API key, where the gateway asks for one."}
    }
    for methods in result["paths"].values():
        for described in methods.values():
            if links := _LINKS.get(described["operationId"]):
                described["responses"]["200"]["links"] = links
    return result


def _named(part: Any, components: dict[str, Any]) -> set[str]:
    """The components that this part of a document refers to, and those that they refer to."""
    found: set[str] = set()
    waiting = [part]
    while waiting:
        for reference in re.findall(r"#/components/schemas/(\w+)", json.encode(waiting.pop()).decode()):
            if reference not in found:
                found.add(reference)
                waiting.append(components[reference])
    return found


@functools.cache
def document(urls: str) -> bytes:
    """The OpenAPI document of a service, by the module of its addresses."""
    generator = SchemaGenerator(urlconf=urls)  # type: ignore[no-untyped-call]  # the library has no types there
    found = generator.get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    found["info"] |= _ABOUT[urls]
    used = {tag for methods in found["paths"].values() for told in methods.values() for tag in told["tags"]}
    found["tags"] = [tag for tag in found["tags"] if tag["name"] in used]
    return json.encode(found)


def openapi_json(request: HttpRequest) -> HttpResponse:
    """`GET /v1/openapi.json`"""
    return HttpResponse(document(_urls(request)), content_type="application/json")


def page(request: HttpRequest) -> HttpResponse:
    """`GET /docs`: the document as a page."""
    return HttpResponse(_PAGE.replace("{title}", _ABOUT[_urls(request)].get("title", "the API")))


def _urls(request: HttpRequest) -> str:
    """The module of the addresses by which the request was found."""
    found: str = getattr(request, "urlconf", None) or settings.ROOT_URLCONF
    return found if found in _ABOUT else API


def redoc(request: HttpRequest) -> HttpResponse:
    """`GET /docs/redoc.js`: what draws the page; served from here, so that it needs no other host."""
    response = HttpResponse(_REDOC.read_bytes(), content_type="text/javascript; charset=utf-8")
    response["Cache-Control"] = "public, max-age=86400"
    return response
