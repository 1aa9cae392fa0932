"""What does not fit together in an operator's settings. Each complaint begins with a setting, without its prefix."""

from __future__ import annotations

from collections.abc import Iterator

from smsgateway.config.operator_checks import PLACEHOLDER
from smsgateway.config.operators import HttpOperator, SmppOperator


def http_complaints(operator: HttpOperator) -> Iterator[str]:
    """The complaints about an operator over HTTP."""
    carried = operator.url if operator.method == "GET" else operator.url + operator.body
    names = set(PLACEHOLDER.findall(carried))
    where = "URL" if operator.method == "GET" else "URL or BODY"
    if operator.url and not names & {"recipient", "recipient_digits"}:
        yield f"METHOD is {operator.method}, so {where} must have {{recipient}} or {{recipient_digits}}."
    if operator.url and "text" not in names:
        yield f"METHOD is {operator.method}, so {where} must have {{text}}."


def smpp_complaints(operator: SmppOperator) -> Iterator[str]:
    """The complaints about an operator over SMPP."""
    if operator.interface_version != "3.3":
        return
    if operator.long_messages != "udh":
        yield "INTERFACE_VERSION 3.3 has no parameters, so LONG_MESSAGES must be udh."
    if operator.tlvs or operator.user_reference == "on":
        yield "INTERFACE_VERSION 3.3 has no parameters, so TLVS must be empty and USER_REFERENCE off."
