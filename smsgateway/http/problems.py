"""Turns every error into a problem document (RFC 9457) with a stable `code`. No other place does."""

from __future__ import annotations

import contextlib
import http
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import structlog
from django.core.exceptions import BadRequest, RequestDataTooBig, SuspiciousOperation
from django.db import IntegrityError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import Resolver404, resolve
from psycopg.errors import CheckViolation
from rest_framework.exceptions import APIException
from rest_framework.response import Response

from smsgateway import errors, ids, json
from smsgateway.metrics import HTTP_PROBLEMS

log = structlog.get_logger(__name__)
CONTENT_TYPE = "application/problem+json"
_MOST_PARTS: Final = 8  # at most this many parts of a path are checked for a malformed id


def document(error: errors.GatewayError, *, request_id: str) -> dict[str, Any]:
    """The problem document: type, title, status, code, detail, request_id and the error's own members."""
    return {
        "type": f"urn:smsgateway:problem:{error.code}",
        "title": error.title,
        "status": error.status,
        "code": error.code,
        "detail": error.detail or error.title + ".",
        **error.members,
        "request_id": request_id,
    }


def translate(error: Exception, *, allowed: Sequence[str] = ()) -> errors.GatewayError:
    """The error that a caller gets. An unexpected error is logged with its trace and becomes `internal_error`.

    `allowed`: the methods of the resource.
    """
    match error:
        case errors.GatewayError():
            return error
        case OperationalError() | InterfaceError():
            log.error("database_unavailable", error=str(error).strip())
            return errors.DatabaseUnavailable("Try again shortly.")
        case IntegrityError() if _lacks_partition(error):
            log.error("partition_missing", error=str(error).strip())
            return errors.PartitionMissing(
                "A clock is wrong, or partitions were not created in time. Try again shortly."
            )
        case RequestDataTooBig():
            return errors.BodyTooLarge("Send fewer messages in one request.")
        case SuspiciousOperation() | BadRequest():
            log.warning("suspicious_request", error=str(error))
            return errors.MalformedRequest("The URL, a header or a parameter is not acceptable.")
        case Http404():
            return errors.NotFound("No resource has this path; /v1/openapi.json lists all.")
        case APIException():
            return _from_rest_framework(error, allowed)
    log.error("unexpected_error", exc_info=error)
    return errors.GatewayError("An unexpected error occurred. It was logged with this request id.")


def _lacks_partition(error: IntegrityError) -> bool:
    """Whether a row has no partition, or one that is being archived. Such an error names no constraint."""
    cause = error.__cause__
    return isinstance(cause, CheckViolation) and not cause.diag.constraint_name


def _from_rest_framework(error: APIException, allowed: Sequence[str]) -> errors.GatewayError:
    class RestFrameworkError(errors.GatewayError):
        code = error.default_code
        status = error.status_code
        title = http.HTTPStatus(error.status_code).phrase

    if error.status_code == http.HTTPStatus.METHOD_NOT_ALLOWED and allowed:
        return RestFrameworkError(f"This path allows {', '.join(allowed)}.")
    return RestFrameworkError(str(error.detail))


def exception_response(error: Exception, context: dict[str, Any]) -> Response:
    """DRF's exception handler."""
    translated = translate(error, allowed=context["view"].allowed_methods)
    HTTP_PROBLEMS.labels(translated.code).inc()
    request_id = getattr(context["request"], "request_id", "")
    response = Response(
        document(translated, request_id=request_id), status=translated.status, content_type=CONTENT_TYPE
    )
    for name, value in translated.headers.items():
        response[name] = value
    if translated.status == http.HTTPStatus.UNAUTHORIZED:
        response["WWW-Authenticate"] = "Bearer"
    if isinstance(error, APIException) and error.status_code == http.HTTPStatus.METHOD_NOT_ALLOWED:
        response["Allow"] = ", ".join(context["view"].allowed_methods)
    return response


def plain_response(request: HttpRequest, error: Exception) -> HttpResponse:
    """The problem document for errors outside DRF: unknown paths, errors in middleware."""
    translated = translate(error)
    HTTP_PROBLEMS.labels(translated.code).inc()
    request_id = getattr(request, "request_id", "")
    body = json.encode(document(translated, request_id=request_id))
    return HttpResponse(body, status=translated.status, content_type=CONTENT_TYPE, headers=translated.headers)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """`handler404` of the URL configurations."""
    wrong = _malformed_id(request.path_info)
    return plain_response(request, Http404() if wrong is None else errors.NotFound(wrong))


def _malformed_id(path: str) -> str | None:
    """An error text if the path would exist with a valid id in place of one of its parts, else None."""
    parts = path.split("/")
    for place, part in enumerate(parts[:_MOST_PARTS]):
        with contextlib.suppress(Resolver404):
            found = resolve("/".join([*parts[:place], ids.to_text(UUID(int=0)), *parts[place + 1 :]]))
            for name, value in found.kwargs.items():
                if value == UUID(int=0):
                    shown = part[:40].encode("ascii", "backslashreplace").decode()
                    return f"{shown!r} is not a {name.replace('_', ' ')}: an id is a ULID of 26 letters and digits."
    return None


def server_error(request: HttpRequest) -> HttpResponse:
    """`handler500` of the URL configurations."""
    return plain_response(request, errors.GatewayError("An unexpected error occurred. It was logged."))
