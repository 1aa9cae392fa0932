"""The OpenAPI document over HTTP, and as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import drf_spectacular_sidecar
from django.conf import settings
from django.http import HttpRequest, HttpResponse

from smsgateway.http.openapi.document import ABOUT, API, document

_REDOC: Final = Path(drf_spectacular_sidecar.__file__).parent.joinpath(
    "static/drf_spectacular_sidecar/redoc/bundles/redoc.standalone.js"
)
_PAGE: Final = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"></head>
<body style="margin:0"><redoc spec-url="/v1/openapi.json"></redoc>
<script src="/docs/redoc.js"></script></body></html>"""


def openapi_json(request: HttpRequest) -> HttpResponse:
    """`GET /v1/openapi.json`"""
    return HttpResponse(document(_urls(request)), content_type="application/json")


def page(request: HttpRequest) -> HttpResponse:
    """`GET /docs`: the document as a page."""
    return HttpResponse(_PAGE.replace("{title}", ABOUT[_urls(request)]["title"]))


def _urls(request: HttpRequest) -> str:
    """The URL module that the request was resolved with."""
    found: str = getattr(request, "urlconf", None) or settings.ROOT_URLCONF
    return found if found in ABOUT else API


def redoc(request: HttpRequest) -> HttpResponse:
    """`GET /docs/redoc.js`: the script of the page, served from here so that the page needs no other host."""
    response = HttpResponse(_REDOC.read_bytes(), content_type="text/javascript; charset=utf-8")
    response["Cache-Control"] = "public, max-age=86400"
    return response
