"""Who may hand in an operator's receipts: addresses, proxies, signatures; and what is stored of them."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.test import RequestFactory
from rest_framework.test import APIClient

from apps.sms.models import OutboxEntry, WaitingReceipt
from apps.sms.operators import registry
from apps.sms.operators.base import InvalidReceipt, Receipt
from smsgateway import ids
from smsgateway.http.views import client_address
from tests.support.customers import MakeCustomer
from tests.support.receipts import accept, receive, said, status_of, submit

PATH = "/v1/operators/mci/receipts"
TOKEN = "Bearer development-only"


@pytest.fixture
def message_id(make_customer: MakeCustomer) -> UUID:
    [message_id] = accept(make_customer())
    submit(message_id, "7")
    return message_id


@pytest.fixture
def configure(settings: Any) -> Callable[..., None]:
    """Change settings of MCI, and how many proxies are trusted."""

    def change(*, proxies: int = 0, **mci: Any) -> None:
        settings.CONFIG = dataclasses.replace(
            settings.CONFIG,
            mci=dataclasses.replace(settings.CONFIG.mci, **mci),
            receipts=dataclasses.replace(settings.CONFIG.receipts, trusted_proxies=proxies),
        )

    return change


def body_of(message_id: UUID) -> bytes:
    told = {"reference": ids.to_text(message_id), "messageId": "7", "status": "DELIVRD", "doneAt": 1_800_000_000_000}
    return json.dumps(told).encode()


def post(api: APIClient, body: bytes, *, address: str = "127.0.0.1", **headers: str) -> tuple[int, str]:
    """Status and problem code."""
    response: Any = api.generic(
        "POST",
        PATH,
        body,
        content_type="application/json",
        headers={"Authorization": TOKEN} | headers,
        REMOTE_ADDR=address,
    )
    return response.status_code, response.json().get("code", "")


REFUSED = (403, "receipt_address_refused")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.1.2.3", (200, "")),
        ("10.2.0.1", REFUSED),
        ("192.0.2.7", (200, "")),
        ("192.0.2.8", REFUSED),
        ("::ffff:10.1.2.3", (200, "")),
        ("2001:db8::5", (200, "")),
        ("2001:db9::5", REFUSED),
        ("", REFUSED),
    ],
)
def test_receipts_are_taken_from_the_operators_networks_only(
    message_id: UUID, api: APIClient, configure: Callable[..., None], address: str, expected: tuple[int, str]
) -> None:
    configure(receipt_ips=["10.1.0.0/16", "192.0.2.7", "2001:db8::/32"])
    assert post(api, body_of(message_id), address=address) == expected
    assert OutboxEntry.objects.filter(payload__isnull=False).exists() is (expected[0] == 200)


def test_an_address_alone_does_not_replace_the_token(
    message_id: UUID, api: APIClient, configure: Callable[..., None]
) -> None:
    configure(receipt_ips=["127.0.0.1"])
    assert post(api, body_of(message_id), Authorization="Bearer wrong") == (401, "unauthorized")


@pytest.mark.parametrize(
    ("proxies", "forwarded", "expected"),
    [
        (0, "10.1.2.3", REFUSED),  # made up by the caller: no proxy is trusted
        (1, "10.1.2.3", (200, "")),
        (1, "10.1.2.3, 203.0.113.9", REFUSED),
        (2, "203.0.113.9, 10.1.2.3, 172.16.0.1", (200, "")),
        (2, "10.1.2.3, 203.0.113.9, 172.16.0.1", REFUSED),
        (2, "10.1.2.3", REFUSED),
        (1, "", REFUSED),
        (1, "nonsense", REFUSED),
    ],
)
def test_behind_proxies_the_address_is_the_one_that_the_outermost_saw(
    message_id: UUID,
    api: APIClient,
    configure: Callable[..., None],
    proxies: int,
    forwarded: str,
    expected: tuple[int, str],
) -> None:
    configure(proxies=proxies, receipt_ips=["10.1.0.0/16"])
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    assert post(api, body_of(message_id), address="172.16.0.1", **headers) == expected


def test_an_address_is_read_with_spaces_and_without_any() -> None:
    request = RequestFactory().get("/", headers={"X-Forwarded-For": "a,  10.0.0.1 "})
    assert str(client_address(request, trusted_proxies=1)) == "10.0.0.1"


def signed(body: bytes, key: bytes = b"secret") -> str:
    return "sha256=" + hmac.new(key, body, hashlib.sha256).hexdigest()


def test_a_signed_receipt_is_taken(message_id: UUID, api: APIClient, configure: Callable[..., None]) -> None:
    configure(receipt_secret="secret")
    body = body_of(message_id)
    assert post(api, body, **{"X-Receipt-Signature": signed(body)}) == (200, "")


@pytest.mark.parametrize("signature", ["", "sha256=", "é", signed(b"{}"), signed(b"", b"other")])
def test_a_receipt_with_a_wrong_signature_is_refused(
    message_id: UUID, api: APIClient, configure: Callable[..., None], signature: str
) -> None:
    configure(receipt_secret="secret")
    told = post(api, body_of(message_id), **{"X-Receipt-Signature": signature})
    assert told == (401, "invalid_signature")
    assert not OutboxEntry.objects.filter(payload__isnull=False).exists()


def test_a_receipt_without_our_reference_is_acknowledged_and_waits(
    message_id: UUID, api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_with(monkeypatch, said("0042").receipt)
    assert post(api, b"{}") == (200, "")
    assert [row.operator_message_id for row in WaitingReceipt.objects.all()] == ["0042"]
    submit(message_id, "0042")
    receive()
    assert status_of(message_id) == "delivered"


def test_a_receipt_that_names_no_message_at_all_is_refused(
    db: None, api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_with(monkeypatch, said("").receipt)
    assert post(api, b"{}") == (400, InvalidReceipt.code)


def answer_with(patched: pytest.MonkeyPatch, receipt: Receipt) -> None:
    """Operators' own shapes are their packages' matter: MCI's reader gives this."""
    patched.setattr(registry.Mci, "read_receipts", lambda *_: [receipt])
