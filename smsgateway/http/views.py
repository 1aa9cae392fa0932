"""What all HTTP views share: the base view, and the body of a JSON request."""

from __future__ import annotations

import ipaddress
from typing import Any, Final

from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest, HttpResponse
from django.utils.http import parse_header_parameters
from rest_framework.response import Response
from rest_framework.views import APIView

from smsgateway.http.json_renderer import JsonRenderer
from smsgateway.http.request_body import in_utf_8, require_json, unpacked_body

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class GatewayRequest(WSGIRequest):
    """Django's request, but the charset that a caller names has no effect on how parameters are decoded: all is UTF-8.

    Django takes the name of any codec of Python, and fails on those that are no text encoding.
    """

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        given = meta.get("CONTENT_TYPE", "")
        try:
            self.content_type, self.content_params = parse_header_parameters(given)
        except ValueError:  # a parameter in an unknown encoding
            self.content_type, self.content_params = given.partition(";")[0].strip().lower(), {}


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
    """The request's JSON body in UTF-8, unpacked if it came as gzip, without a byte order mark.

    Raises UnsupportedMediaType if it is declared as something else than JSON in UTF-8, and what `unpacked_body` raises.
    """
    require_json(request)
    return in_utf_8(request, unpacked_body(request))


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
