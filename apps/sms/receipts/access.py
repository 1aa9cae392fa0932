"""Who may send an operator's receipts over HTTP: checks the address, the token and the signature, where set."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress

from apps.sms.errors import InvalidSignature, ReceiptAddressRefused
from apps.sms.operators import registry
from smsgateway.config import Config
from smsgateway.config import Operator as OperatorSettings
from smsgateway.errors import Unauthorized
from smsgateway.http.views import Address

SIGNATURE_HEADER = "X-Receipt-Signature"


def authorize(*, operator: str, address: Address | None, authorization: str, config: Config) -> OperatorSettings:
    """The operator's settings, if this caller may send its receipts. `address`: the caller's; None if it is unknown.

    Raises OperatorNotFound, ReceiptAddressRefused, or Unauthorized if the header does not carry the operator's token.
    """
    found = registry.operator_settings(config, operator)
    networks = [ipaddress.ip_network(network) for network in found.receipt_ips]
    if networks and not (address and any(address in network for network in networks)):
        raise ReceiptAddressRefused(f"Receipts of {operator} are not accepted from {address or 'an unknown address'}.")
    if not hmac.compare_digest(authorization.encode(), f"Bearer {found.receipt_token}".encode()):
        raise Unauthorized(f"Send the receipt token of {operator} as Authorization: Bearer.")
    return found


def check_signature(*, body: bytes, signature: str, secret: str) -> None:
    """Raises InvalidSignature if there is a secret and `signature` is not `sha256=` and the body's HMAC in hex."""
    if not secret:
        return
    expected = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(signature.strip().lower().encode(), expected.encode()):
        raise InvalidSignature(f"Send {SIGNATURE_HEADER}: sha256=HEX, the HMAC-SHA256 of the body with our secret.")
