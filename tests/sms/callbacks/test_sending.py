"""One call of an endpoint: signed, to a public address, within a time limit."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import trustme
from aiohttp.abc import AbstractResolver, ResolveResult
from standardwebhooks import Webhook, WebhookVerificationError

from apps.sms.callbacks import sender as sending
from apps.sms.callbacks.sender import Answer, Sender, signed_headers
from smsgateway import egress
from tests.support.callbacks import Endpoint, config_with

ONE, TWO, OTHER = (f"whsec_{letter * 32}" for letter in "ABC")
BODY = '{"text":"سلام"}'.encode()


def send(url: str, *, private: bool = True, timeout: float = 60.0, **parts: Any) -> Answer:
    """Send BODY once, with a sender of its own."""

    async def once() -> Answer:
        config = config_with(allow_private="true" if private else "false", timeout=timeout)
        async with Sender(config, **parts) as sender:
            return await sender.send(url, headers=headers(), body=BODY)

    return asyncio.run(once())


def headers() -> dict[str, str]:
    return signed_headers(id="01CALLBACK", body=BODY, secrets=[ONE, TWO], now=dt.datetime.now(tz=dt.UTC))


class Names(AbstractResolver):
    """Name servers that answer with these addresses, one after the other."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        addresses = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """Nothing is open."""


def test_every_secret_verifies_the_signature_and_no_other() -> None:
    with Endpoint() as endpoint:
        assert send(endpoint.url) == Answer("delivered", 204)
    [received] = endpoint.received
    assert (received.body, received.id) == (BODY, "01CALLBACK")
    assert received.headers["content-type"] == "application/json"
    for secret in (ONE, TWO):
        assert Webhook(secret).verify(received.body, received.headers) == {"text": "سلام"}
    with pytest.raises(WebhookVerificationError):
        received.verified(OTHER)
    with pytest.raises(WebhookVerificationError):
        Webhook(ONE).verify(received.body + b" ", received.headers)


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        (200, {}, Answer("delivered", 200)),
        (299, {}, Answer("delivered", 299)),
        (400, {}, Answer("client_error", 400)),
        (410, {}, Answer("gone", 410)),
        (429, {"Retry-After": "7"}, Answer("throttled", 429, 7.0)),
        (503, {"Retry-After": "8"}, Answer("server_error", 503, 8.0)),
        (503, {"Retry-After": "soon"}, Answer("server_error", 503)),
        (503, {"Retry-After": "Thu, 01 Dec 99999999999999 16:00:00 GMT"}, Answer("server_error", 503)),
        (429, {"Retry-After": "inf"}, Answer("throttled", 429)),
        (500, {"Retry-After": "9"}, Answer("server_error", 500)),
    ],
)
def test_each_response_has_its_outcome(status: int, headers: dict[str, str], expected: Answer) -> None:
    with Endpoint(lambda _path, _before: (status, headers)) as endpoint:
        assert send(endpoint.url) == expected


def test_a_redirect_is_not_followed() -> None:
    with Endpoint() as other, Endpoint(lambda _path, _before: (307, {"Location": other.url})) as endpoint:
        assert send(endpoint.url) == Answer("redirect", 307)
        assert other.received == []


def test_an_endpoint_that_does_not_answer_is_given_up() -> None:
    never = threading.Event()

    def wait(_path: str, _before: int) -> tuple[int, dict[str, str]]:
        never.wait()
        return 204, {}

    with Endpoint(wait) as endpoint:
        assert send(endpoint.url, timeout=0.2) == Answer("timeout")
        never.set()


@pytest.mark.parametrize("size", [1, 100_000_000])
def test_an_answer_without_end_is_not_waited_for(size: int) -> None:
    """The status counts; the body is read to a limit, and no longer than the timeout."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        done = threading.Event()

        def serve() -> None:
            client, _ = server.accept()
            with client:
                client.recv(65_536)
                client.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {size + 1}\r\n\r\n".encode())
                try:
                    for _ in range(max(1, size // 10_000)):
                        client.sendall(b"x" * min(size, 10_000))
                except OSError:
                    return  # hung up on
                done.wait()

        thread = threading.Thread(target=serve)
        thread.start()
        answer = send(f"http://127.0.0.1:{server.getsockname()[1]}/", timeout=4 if size == 1 else 60)
        done.set()
        thread.join()
    assert answer == Answer("delivered", 200)


def test_nobody_there_is_an_answer_too() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
    assert send(url) == Answer("unreachable")


def test_a_connection_that_breaks_is_an_answer_too() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=lambda: server.accept()[0].close())
        thread.start()
        assert send(f"http://127.0.0.1:{server.getsockname()[1]}/") == Answer("connection_lost")
        thread.join()


def test_a_url_that_is_none_is_an_answer_too() -> None:
    assert send("https:///path") == Answer("invalid_url")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]"])
def test_an_address_of_the_own_network_is_not_called(host: str) -> None:
    with Endpoint() as endpoint:
        assert send(f"http://{host}:{endpoint.port}/", private=False) == Answer("address_refused")
        assert endpoint.received == []


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], ["10.0.0.1"], ["::1"], ["8.8.8.8", "127.0.0.1"], ["64:ff9b::7f00:1"]]
)
def test_a_name_that_leads_into_the_own_network_is_not_called(addresses: list[str]) -> None:
    with Endpoint() as endpoint:
        url = f"http://shop.example:{endpoint.port}/"
        assert send(url, private=False, resolver=Names(addresses)) == Answer("address_refused")
        assert endpoint.received == []


def test_a_name_that_changes_between_check_and_connection_gains_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names are resolved once: the call connects to the address that was checked."""
    connected_to: list[Any] = []

    def watched(address: Any) -> socket.socket:
        connected_to.append(address[4][0])
        raise OSError("no way there")

    monkeypatch.setattr(sending, "public_socket", watched)
    names = Names(["8.8.8.8"], ["127.0.0.1"])
    with Endpoint() as endpoint:
        assert send(f"http://shop.example:{endpoint.port}/", private=False, resolver=names) == Answer("unreachable")
        assert endpoint.received == []
    assert set(connected_to) == {"8.8.8.8"}
    assert names.answers == [["127.0.0.1"]]  # never asked for


def test_the_connection_itself_is_refused_if_the_name_was_checked_wrongly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "is_public", lambda _address: True)
    with Endpoint() as endpoint:
        url = f"http://shop.example:{endpoint.port}/"
        assert send(url, private=False, resolver=Names(["127.0.0.1"])) == Answer("address_refused")
        assert endpoint.received == []


@pytest.fixture
def secure(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, ssl.SSLContext]]:
    """A TLS server whose certificate is shop.example's: its port, and a context that trusts its authority."""
    # This machine's address stands for a public one, so that the whole way of production is gone.
    monkeypatch.setattr(egress, "is_public", lambda address: address == "127.0.0.1")
    monkeypatch.setattr(sending, "is_public", lambda address: address == "127.0.0.1")
    authority = trustme.CA()
    served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("shop.example").configure_cert(served)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with Endpoint() as endpoint:
        endpoint.serve_tls(served)
        yield endpoint.port, trusting


def test_tls_verifies_the_name_though_an_address_is_connected_to(secure: tuple[int, ssl.SSLContext]) -> None:
    port, trusting = secure
    parts = {"resolver": Names(["127.0.0.1"]), "ssl_context": trusting, "private": False}
    assert send(f"https://shop.example:{port}/", **parts) == Answer("delivered", 204)
    assert send(f"https://other.example:{port}/", **parts) == Answer("tls")


def test_a_certificate_that_nobody_vouches_for_is_refused(secure: tuple[int, ssl.SSLContext]) -> None:
    port, _ = secure
    answer = send(f"https://shop.example:{port}/", private=False, resolver=Names(["127.0.0.1"]))
    assert answer == Answer("tls")
