"""What all HTTP views share: the base view, and the body of a JSON request."""

from __future__ import annotations

import ipaddress
import zlib
from typing import Any, Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from rest_framework.response import Response
from rest_framework.views import APIView

from smsgateway.errors import BodyTooLarge, InvalidRequest, UnsupportedMediaType
from smsgateway.json import JsonRenderer

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class JsonView(APIView):
    """A view that answers JSON and problem documents, and takes Django's request as it is.

    Bodies are read raw, each view decodes its own struct, and there is one representation: what DRF would wrap, parse
    and negotiate for each request is not asked for.
    """

    parser_classes = ()

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpRequest:  # type: ignore[override]
        return request

    def initial(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        """What must hold before the method runs; raises what a caller is told of."""

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
    """An answer that is encoded already, without DRF's later rendering: the hot path's."""
    return HttpResponse(body, content_type=JsonRenderer.media_type)


def json_body(request: HttpRequest) -> bytes:
    """The request's body, unpacked if it came as gzip.

    Raises UnsupportedMediaType if it says that it is something else than JSON, BodyTooLarge also for what grows too
    large when unpacked, InvalidRequest if it is no gzip.
    """
    content_type = request.META.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    if content_type not in ("", "application/json"):
        raise UnsupportedMediaType("Send the header Content-Type: application/json.")
    return request_body(request)


def request_body(request: HttpRequest) -> bytes:
    """The request's body of any kind, unpacked if it came as gzip. Raises as `json_body`."""
    body = _chunked(request) if "HTTP_TRANSFER_ENCODING" in request.META else request.body
    match request.META.get("HTTP_CONTENT_ENCODING", "identity").strip().lower():
        case "identity" | "":
            return body
        case "gzip":
            return _gunzip(body, longest=settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
    raise UnsupportedMediaType("Send the body as it is or with Content-Encoding: gzip.")


def _chunked(request: HttpRequest) -> bytes:
    """The body of a request that does not say its length, which Django itself takes for none."""
    if not request.META.get("wsgi.input_terminated"):  # a server that does not end it would let us wait for ever
        return request.body
    longest = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    body: bytes = request.META["wsgi.input"].read(longest + 1)
    if len(body) > longest:
        raise BodyTooLarge("Send fewer messages in one request.")
    return body


def _gunzip(packed: bytes, *, longest: int) -> bytes:
    unpacking = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        body = unpacking.decompress(packed, longest + 1)
    except zlib.error as fault:
        body, unpacking_failed = b"", str(fault)
    else:
        unpacking_failed = "" if unpacking.eof or len(body) > longest else "it ends too early"
    if unpacking_failed:
        told = {"field": "", "code": "malformed_gzip", "reason": f"The body is no gzip: {unpacking_failed}."}
        raise InvalidRequest("Send the whole body as gzip, or as it is.", errors=[told])
    if len(body) > longest:
        raise BodyTooLarge("Send fewer messages in one request.")
    return body


def client_address(request: HttpRequest, *, trusted_proxies: int) -> Address | None:
    """The address that a request came from, None if it cannot be told.

    Behind `trusted_proxies` proxies of ours, each of which appends whom it was called by to X-Forwarded-For, it is
    the entry that the outermost one wrote; what stands before it the caller may have made up.
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
