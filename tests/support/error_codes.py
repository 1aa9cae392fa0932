"""Every error of the code, and where it can occur."""

from __future__ import annotations

# Errors are found as subclasses, so their modules must be loaded, whichever tests run before.
import apps.balance.errors
import apps.customers.errors
import apps.reporting.errors
import apps.sms.errors
import apps.sms.operators.base  # noqa: F401
from smsgateway.errors import GatewayError

# Never an answer of this API's operations: the reporting API's, and those that every address may give.
COMMANDS = {"api_key_not_found", "api_key_exists", "invalid_amount", "invalid_threshold", "reference_used", "form_used"}
REPORTING = {
    "statistics_unavailable",
    "query_too_slow",
    "too_many_exports",
    "http_version_too_old",
    "statement_archived",
}

ELSEWHERE = COMMANDS | REPORTING


def all_errors(kind: type[GatewayError] = GatewayError) -> set[str]:
    found = {kind.code} if kind.__module__.startswith(("apps.", "smsgateway.errors")) else set()
    return found.union(*(all_errors(child) for child in kind.__subclasses__()))
