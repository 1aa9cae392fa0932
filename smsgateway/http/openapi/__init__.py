"""The OpenAPI documents. Apps describe their operations with the names that this package exports."""

from smsgateway.http.openapi.headers import (
    CACHE_CONTROL,
    CONTENT_DISPOSITION,
    CONTENT_ENCODING,
    IDEMPOTENT_REPLAYED,
    RATE_LIMIT,
    RATE_LIMIT_POLICY,
    VARY,
)
from smsgateway.http.openapi.operations import (
    IDEMPOTENCY_KEY,
    MOMENT,
    PAGE,
    FieldFault,
    Problem,
    operation,
    query_parameter,
)
from smsgateway.http.openapi.schemas import Amount, Currency, Moment, Ulid, one_of
from smsgateway.http.openapi.webhooks import webhook

__all__ = [
    "CACHE_CONTROL",
    "CONTENT_DISPOSITION",
    "CONTENT_ENCODING",
    "IDEMPOTENCY_KEY",
    "IDEMPOTENT_REPLAYED",
    "MOMENT",
    "PAGE",
    "RATE_LIMIT",
    "RATE_LIMIT_POLICY",
    "VARY",
    "Amount",
    "Currency",
    "FieldFault",
    "Moment",
    "Problem",
    "Ulid",
    "one_of",
    "operation",
    "query_parameter",
    "webhook",
]
