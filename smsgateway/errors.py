"""The root of all errors that callers can get. Each app's errors are a tree below it."""

from __future__ import annotations

from typing import ClassVar, Final

MAX_ERRORS: Final = 100
"""At most this many errors of a request are listed."""


class GatewayError(Exception):
    """The request could not be served"""

    # The docstring is the problem's title; `code` is stable and documented in docs/reference/api.md.
    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, detail: str = "", **members: object) -> None:
        """`detail` is text for people; `members` are further fields of the problem document."""
        super().__init__(detail)
        self.detail = detail
        self.members = members
        self.headers = {"Retry-After": "1"} if self.retryable else {}

    @property
    def title(self) -> str:
        return (type(self).__doc__ or "").strip()


class InvalidRequest(GatewayError):
    """The request is not valid"""

    code = "invalid_request"
    status = 400

    def __init__(self, detail: str, *, errors: list[dict[str, str]]) -> None:
        """`errors`: one `{"field", "code", "reason"}` for each wrong field; the first MAX_ERRORS are listed, the
        others counted."""
        more = {"more_errors": len(errors) - MAX_ERRORS} if len(errors) > MAX_ERRORS else {}
        self.errors = errors[:MAX_ERRORS]
        super().__init__(detail, errors=self.errors, **more)


class NotFound(GatewayError):
    """The resource does not exist"""

    code = "not_found"
    status = 404


class Unauthorized(GatewayError):
    """The credentials are missing or wrong"""

    code = "unauthorized"
    status = 401


class UnsupportedMediaType(GatewayError):
    """The body must be JSON"""

    code = "unsupported_media_type"
    status = 415

    def __init__(self, detail: str, *, headers: dict[str, str]) -> None:
        """`headers`: Accept or Accept-Encoding with what is supported (RFC 9110, section 15.5.16)."""
        super().__init__(detail)
        self.headers = headers


class BodyTooLarge(GatewayError):
    """The body is too large"""

    code = "body_too_large"
    status = 413


class MalformedRequest(GatewayError):
    """The request is not valid HTTP/1.1"""

    code = "malformed_request"
    status = 400


class UnknownHost(GatewayError):
    """The request is addressed to another host"""

    code = "unknown_host"
    status = 400


class UriTooLong(GatewayError):
    """The URL is too long"""

    code = "uri_too_long"
    status = 414


class HeadersTooLarge(GatewayError):
    """A header is too long, or there are too many headers"""

    code = "headers_too_large"
    status = 431


class RequestTimeout(GatewayError):
    """The request did not arrive in time"""

    code = "request_timeout"
    status = 408


class Overloaded(GatewayError):
    """The service has more requests than it can handle; this one had no effect"""

    code = "overloaded"
    status = 503
    retryable = True

    def __init__(self, detail: str, *, retry_after: int = 1) -> None:
        """`retry_after`: seconds."""
        super().__init__(detail)
        self.headers = {"Retry-After": str(retry_after)}


class DatabaseUnavailable(GatewayError):
    """The database does not respond; nothing was charged, unless only its response was lost"""

    code = "database_unavailable"
    status = 503
    retryable = True


class PartitionMissing(GatewayError):
    """The database has no partition for the current time; nothing was charged"""

    code = "partition_missing"
    status = 503
    retryable = True


class StatisticsUnavailable(GatewayError):
    """The statistics database does not respond"""

    code = "statistics_unavailable"
    status = 503
    retryable = True
