"""Response headers, as the OpenAPI documents describe them."""

from __future__ import annotations

from typing import Any, Final, NamedTuple


class Header(NamedTuple):
    """A response header. `key`: its name among the document's components."""

    name: str
    key: str
    description: str
    schema: dict[str, Any]
    required: bool = False

    def reference(self) -> dict[str, str]:
        """A reference to the component."""
        return {"$ref": f"#/components/headers/{self.key}"}

    def component(self) -> dict[str, Any]:
        """The component."""
        required = {"required": True} if self.required else {}
        return {"description": self.description, **required, "schema": self.schema}


def _text(*examples: str, **more: Any) -> dict[str, Any]:
    return {"type": "string", **more, "examples": list(examples)}


REQUEST_ID: Final = Header(
    "X-Request-ID",
    "RequestId",
    "The id of this request: your own if you sent a valid one. Every log line of the request has it.",
    _text("01M85WA82TVPF9V9XAN1T7E1PA"),
    required=True,
)
RETRY_AFTER: Final = Header(
    "Retry-After",
    "RetryAfter",
    "Seconds to wait before the next try. Present if the same request may succeed later.",
    {"type": "integer", "minimum": 0, "examples": [1]},
)
ACCEPT: Final = Header(
    "Accept",
    "Accept",
    "The supported media types, if the body has another one (RFC 9110, section 15.5.16).",
    _text("application/json"),
)
ACCEPT_ENCODING: Final = Header(
    "Accept-Encoding",
    "AcceptEncoding",
    "The supported content codings, if the body has another one.",
    _text("gzip, identity"),
)
WWW_AUTHENTICATE: Final = Header(
    "WWW-Authenticate", "WwwAuthenticate", "The authentication scheme to use.", _text("Bearer")
)
RATE_LIMIT_POLICY: Final = Header(
    "RateLimit-Policy",
    "RateLimitPolicy",
    "The customer's limit: `q` messages in `w` seconds (draft-ietf-httpapi-ratelimit-headers).",
    _text('"messages";q=60000;w=60'),
)
RATE_LIMIT: Final = Header(
    "RateLimit",
    "RateLimit",
    "What remains of the limit: `r` messages now, and all of it in `t` seconds.",
    _text('"messages";r=59990;t=42'),
)
IDEMPOTENT_REPLAYED: Final = Header(
    "Idempotent-Replayed",
    "IdempotentReplayed",
    "Present if this is the stored first response to the Idempotency-Key. Nothing was charged this time.",
    {"type": "string", "enum": ["true"]},
)
CACHE_CONTROL: Final = Header("Cache-Control", "CacheControl", "The response must not be cached.", _text("no-store"))
CONTENT_DISPOSITION: Final = Header(
    "Content-Disposition",
    "ContentDisposition",
    "The file's name.",
    _text('attachment; filename="messages-20261101T000000Z-20261201T000000Z.csv"'),
)
CONTENT_ENCODING: Final = Header(
    "Content-Encoding",
    "ContentEncoding",
    "`gzip` if the request's Accept-Encoding allows it.",
    {"type": "string", "enum": ["gzip"]},
)
VARY: Final = Header("Vary", "Vary", "The request headers that the response depends on.", _text("Accept-Encoding"))

ALL: Final = (
    ACCEPT,
    ACCEPT_ENCODING,
    REQUEST_ID,
    RETRY_AFTER,
    WWW_AUTHENTICATE,
    RATE_LIMIT_POLICY,
    RATE_LIMIT,
    IDEMPOTENT_REPLAYED,
    CACHE_CONTROL,
    CONTENT_DISPOSITION,
    CONTENT_ENCODING,
    VARY,
)
