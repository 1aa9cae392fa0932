"""Who may send an operator's receipts over HTTP: checks the address, the token and the signature, where set."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import ipaddress
from collections.abc import Iterator
from typing import Final
from urllib.parse import parse_qsl, urlencode

from apps.sms.errors import InvalidSignature, ReceiptAddressRefused
from apps.sms.operators import registry
from smsgateway.config import Config
from smsgateway.config import Operator as OperatorSettings
from smsgateway.errors import Unauthorized
from smsgateway.http.views import Address

SIGNATURE_HEADER = "X-Receipt-Signature"
_MOST_FIELDS: Final = 200


_WHERE: Final = {
    "bearer": "as Authorization: Bearer",
    "basic": "as the password of Authorization: Basic",
    "query": "in the query",
    "any": "as Authorization: Bearer or Basic, or in the query",
}


def authorize(
    *, operator: str, address: Address | None, authorization: str, query: str = "", config: Config
) -> OperatorSettings:
    """The operator's settings, if this caller may send its receipts. `address`: the caller's; None if it is unknown.

    Raises OperatorNotFound, ReceiptAddressRefused, or Unauthorized if the request does not carry the operator's token
    where its settings say.
    """
    found = registry.operator_settings(config, operator)
    networks = [ipaddress.ip_network(network) for network in found.receipt_ips]
    if networks and not (address and any(address in network for network in networks)):
        raise ReceiptAddressRefused(f"Receipts of {operator} are not accepted from {address or 'an unknown address'}.")
    if not any(
        hmac.compare_digest(sent.encode(), found.receipt_token.encode())
        for sent in _tokens(authorization, query, settings=found)
    ):
        raise Unauthorized(f"Send the receipt token of {operator} {_WHERE[found.receipt_auth]}.")
    return found


def _tokens(authorization: str, query: str, *, settings: OperatorSettings) -> Iterator[str]:
    """The tokens that a request carries in the places that the settings allow."""
    places = ("bearer", "basic", "query") if settings.receipt_auth == "any" else (settings.receipt_auth,)
    scheme, _, credentials = authorization.partition(" ")
    if "bearer" in places and scheme == "Bearer":
        yield credentials
    if "basic" in places and scheme.lower() == "basic":
        with contextlib.suppress(ValueError):
            both = base64.b64decode(credentials.strip(), validate=True).decode()
            yield both
            yield both.partition(":")[2]
    if "query" in places:
        with contextlib.suppress(ValueError):
            fields = parse_qsl(query, max_num_fields=_MOST_FIELDS)
            yield from (value for name, value in fields if name == settings.receipt_token_field)


def query_without_token(query: str, *, settings: OperatorSettings) -> str:
    """The query without the receipt token, which must not be stored."""
    pairs = parse_qsl(query, keep_blank_values=True)
    kept = [(name, value) for name, value in pairs if name != settings.receipt_token_field]
    return query if len(kept) == len(pairs) else urlencode(kept)


def check_signature(*, body: bytes, signature: str, secret: str) -> None:
    """Raises InvalidSignature if there is a secret and `signature` is not `sha256=` and the body's HMAC in hex."""
    if not secret:
        return
    expected = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(signature.strip().lower().encode(), expected.encode()):
        raise InvalidSignature(f"Send {SIGNATURE_HEADER}: sha256=HEX, the HMAC-SHA256 of the body with our secret.")
