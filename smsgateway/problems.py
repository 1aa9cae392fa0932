"""Turns every error into a problem document (RFC 9457) with a stable `code`. The one place that does."""

from __future__ import annotations

import http
from typing import Any

import structlog
from django.core.exceptions import BadRequest, RequestDataTooBig, SuspiciousOperation
from django.db import IntegrityError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from psycopg.errors import CheckViolation
from rest_framework.exceptions import APIException
from rest_framework.response import Response

from smsgateway import errors, json
from smsgateway.metrics import HTTP_PROBLEMS

log = structlog.get_logger(__name__)
CONTENT_TYPE = "application/problem+json"


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


def translate(error: Exception) -> errors.GatewayError:
    """The error that a caller is told of. An unexpected one is logged with its trace and told as internal."""
    match error:
        case errors.GatewayError():
            return error
        case OperationalError() | InterfaceError():
            log.error("database_unavailable", error=str(error).strip())
            return errors.DatabaseUnavailable("Try again shortly.")
        case IntegrityError() if _lacks_partition(error):
            log.error("partition_missing", error=str(error).strip())
            return errors.PartitionMissing("A clock is wrong, or partitions were not made in time. Try again shortly.")
        case RequestDataTooBig():
            return errors.BodyTooLarge("Send fewer messages in one request.")
        case SuspiciousOperation() | BadRequest():
            log.warning("suspicious_request", error=str(error))
            return errors.MalformedRequest("The address, a header or the parameters are not acceptable.")
        case Http404():
            return errors.NotFound("No such address.")
        case APIException():
            return _from_rest_framework(error)
    log.error("unexpected_error", exc_info=error)
    return errors.GatewayError("An unexpected error; it was logged with this request id.")


def _lacks_partition(error: IntegrityError) -> bool:
    """Whether a row found no partition, or one that is being archived: no constraint that has a name failed."""
    cause = error.__cause__
    return isinstance(cause, CheckViolation) and not cause.diag.constraint_name


def _from_rest_framework(error: APIException) -> errors.GatewayError:
    class RestFrameworkError(errors.GatewayError):
        code = error.default_code
        status = error.status_code
        title = http.HTTPStatus(error.status_code).phrase

    return RestFrameworkError(str(error.detail))


def exception_response(error: Exception, context: dict[str, Any]) -> Response:
    """DRF's exception handler."""
    translated = translate(error)
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
    """The same outside DRF: unknown addresses, errors in middleware."""
    translated = translate(error)
    HTTP_PROBLEMS.labels(translated.code).inc()
    request_id = getattr(request, "request_id", "")
    body = json.encode(document(translated, request_id=request_id))
    return HttpResponse(body, status=translated.status, content_type=CONTENT_TYPE, headers=translated.headers)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """`handler404` of the URL configurations."""
    return plain_response(request, Http404())


def server_error(request: HttpRequest) -> HttpResponse:
    """`handler500` of the URL configurations."""
    return plain_response(request, errors.GatewayError("An unexpected error; it was logged."))
