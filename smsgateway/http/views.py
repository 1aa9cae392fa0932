"""The base of all HTTP views, and the body of a JSON request."""

from __future__ import annotations

import ipaddress
from typing import Any, ClassVar, Final

from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest, HttpResponse
from django.utils.http import parse_header_parameters
from rest_framework.response import Response
from rest_framework.views import APIView

from smsgateway.http.json_renderer import JsonRenderer
from smsgateway.http.request_body import in_utf_8, require_json, unpacked_body

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class GatewayRequest(WSGIRequest):
    """Django's request, but parameters are always decoded as UTF-8, whatever charset a caller declares.

    Django accepts the name of any Python codec, and fails on those that are not text encodings.
    """

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        given = meta.get("CONTENT_TYPE", "")
        try:
            self.content_type, self.content_params = parse_header_parameters(given)
        except ValueError:  # a parameter in an unknown encoding
            self.content_type, self.content_params = given.partition(";")[0].strip().lower(), {}


class JsonView(APIView):
    """A view that returns JSON and problem documents, and gets Django's request unwrapped.

    Views read raw bodies, decode their own structs and have one representation, so DRF's wrapping, parsing and content
    negotiation are skipped.
    """

    parser_classes = ()
    # Its methods that end in one short transaction, and so run on the event loop (see `smsgateway.http.direct`).
    on_loop: ClassVar[frozenset[str]] = frozenset()

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        self.args, self.kwargs, self.request, self.headers = args, kwargs, request, {}  # type: ignore[assignment]
        try:
            self.initial(request, *args, **kwargs)
            name = (request.method or "").lower()
            allowed = name in self.http_method_names
            handler = getattr(self, name, None) if allowed else None
            response = (handler or self.http_method_not_allowed)(request, *args, **kwargs)  # type: ignore[arg-type]
        except Exception as error:
            response = self.handle_exception(error)
        return self.finalize_response(request, response, *args, **kwargs)

    def initial(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        """Checks before the method runs; raises errors for the caller."""

    def finalize_response(  # type: ignore[override]
        self, request: HttpRequest, response: HttpResponse, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        if isinstance(response, Response):
            response.accepted_renderer = _RENDERER
            response.accepted_media_type = _RENDERER.media_type
            response.renderer_context = {}  # type: ignore[attr-defined]  # the stubs lack it
        return response


_RENDERER: Final = JsonRenderer()


def json_response(body: bytes | str) -> HttpResponse:
    """A response that is already encoded, without DRF's rendering; for the hot path."""
    return HttpResponse(body, content_type=JsonRenderer.media_type)


MOST_OF_ONE: Final = 1_048_576
"""The largest body, in bytes, of a request for one thing, such as one message."""


def json_body(request: HttpRequest, *, most: int | None = None) -> bytes:
    """The request's JSON body in UTF-8, decompressed if it is gzip, without a byte order mark.

    `most`: its largest size in bytes, if that is below HTTP_MAX_BODY_BYTES.
    Raises UnsupportedMediaType if it is not declared as JSON in UTF-8, and what `unpacked_body` raises.
    """
    require_json(request)
    return in_utf_8(request, unpacked_body(request, most=most))


def client_address(request: HttpRequest, *, trusted_proxies: int) -> Address | None:
    """The client's IP address; None if it is unknown.

    `trusted_proxies`: the number of our own proxies, each of which appends its caller's address to X-Forwarded-For. The
    client's address is the entry that the outermost proxy wrote; entries before it may be forged.
    """
    text = request.META.get("REMOTE_ADDR", "")
    if trusted_proxies:
        hops = request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")
        text = hops[-trusted_proxies] if len(hops) >= trusted_proxies else ""
    try:
        address = ipaddress.ip_address(text.strip())
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def request_id_of(request: HttpRequest) -> str:
    """The id that `RequestContextMiddleware` gave this request."""
    return getattr(request, "request_id", "")
