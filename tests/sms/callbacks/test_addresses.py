"""Callbacks call public addresses only, however a URL or a host name tries to reach others."""

from __future__ import annotations

import pytest

from apps.customers.callback_urls import url_complaint
from smsgateway.egress import is_public
from tests.support.callbacks import config_with

PRIVATE = [
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",  # noqa: S104  # an address like others here
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "::",
    "::1",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fec0::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::7f00:1",
    "64:ff9b::7f00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::1",
    "2001:db8::1",
    "3fff::1",
    "2002:7f00:1::",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "185.143.233.1", "2606:4700:4700::1111"])
def test_a_public_address_is_accepted(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "https://shop.example/sms?order=7",
        "https://shop.example:8443/",
        "https://8.8.8.8/",
        "https://[2606:4700:4700::1111]/",
        "https://127.0.0.1.shop.example/",
        "https://xn--mgbaal8b0b9b2b.example/",
    ],
)
def test_a_url_that_may_be_called(url: str) -> None:
    assert url_complaint(url, config=config_with(allow_private="false")) is None


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "https URL"),
        ("http://shop.example/", "https URL"),
        ("ftp://shop.example/", "https URL"),
        ("https://", "https URL"),
        ("https://[half/", "https URL"),
        ("https://shop.example:0/", "https URL"),
        ("https://shop.example:99999/", "https URL"),
        ("https://shop.example/ a", "https URL"),
        ("https://shop.example\\@10.0.0.1/", "https URL"),
        ("https://فروشگاه.example/", "https URL"),
        ("https://user:secret@shop.example/", "user name"),
        ("https://shop.example@10.0.0.1/", "user name"),
        ("https://shop.example/#part", "fragment"),
        ("https://shop.example:22/", "port must be one of 443, 8443"),
        ("https://localhost/", "public internet"),
        ("https://LOCALHOST./", "public internet"),
        ("https://a.localhost/", "public internet"),
        ("https://127.1/", "public internet"),
        ("https://2130706433/", "public internet"),
        ("https://0x7f000001/", "public internet"),
        ("https://0177.0.0.1/", "public internet"),
        *[(f"https://[{address}]/", "public internet") for address in PRIVATE if ":" in address and "%" not in address],
        *[(f"https://{address}/", "public internet") for address in PRIVATE if ":" not in address],
    ],
)
def test_a_url_that_must_not_be_called_is_refused_with_the_reason(url: str, reason: str) -> None:
    complaint = url_complaint(url, config=config_with(allow_private="false"))
    assert complaint is not None
    assert reason in complaint


def test_in_development_the_own_network_may_be_called() -> None:
    for url in ("http://127.0.0.1:3000/", "http://localhost/", "https://shop.example:22/"):
        assert url_complaint(url, config=config_with()) is None
    assert url_complaint("ftp://shop.example/", config=config_with()) == (
        "It must be an https or http URL, percent-encoded."
    )
