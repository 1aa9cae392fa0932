"""Calls endpoints over HTTP: with Standard Webhooks signatures, to public addresses only, within a time limit."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import socket
import ssl
from collections.abc import Sequence
from typing import Final, NamedTuple

import aiohttp
import structlog
from aiohttp.abc import AbstractResolver, ResolveResult
from standardwebhooks import Webhook

from smsgateway.config.delivery import Callback as CallbackSettings
from smsgateway.egress import AddressRefused, is_public, public_socket
from smsgateway.http.retry_after_parser import retry_after_seconds

log = structlog.get_logger(__name__)

# Only the status of a response matters. Its body is read up to this size, so that the connection can be used again.
_READ_BYTES: Final = 65_536
_DNS_SECONDS: Final = 10

DELIVERED: Final = "delivered"
GONE: Final = "gone"
THROTTLED: Final = "throttled"
REDIRECT: Final = "redirect"
CLIENT_ERROR: Final = "client_error"
SERVER_ERROR: Final = "server_error"
TIMEOUT: Final = "timeout"
UNREACHABLE: Final = "unreachable"
CONNECTION_LOST: Final = "connection_lost"
TLS: Final = "tls"
ADDRESS_REFUSED: Final = "address_refused"
INVALID_URL: Final = "invalid_url"
INTERNAL: Final = "internal_error"


class Answer(NamedTuple):
    """The result of a try: one of the outcomes above, the HTTP status if there was one, Retry-After in seconds."""

    outcome: str
    http_status: int | None = None
    retry_after: float | None = None


class PublicResolver(AbstractResolver):
    """Resolves host names. Raises AddressRefused if any address of a name is not public."""

    def __init__(self, inner: AbstractResolver) -> None:
        self._inner = inner

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        if not all(is_public(result["host"]) for result in found):
            raise AddressRefused
        return found

    async def close(self) -> None:
        await self._inner.close()


def signed_headers(*, id: str, body: bytes, secrets: Sequence[str], now: dt.datetime) -> dict[str, str]:
    """The headers of Standard Webhooks, with one signature for each secret. `now`: in UTC."""
    text = body.decode()
    signatures = (Webhook(secret).sign(id, now, text) for secret in secrets)
    return {
        "Content-Type": "application/json",
        "User-Agent": "smsgateway",
        "webhook-id": id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


class Sender:
    """Sends callbacks. Open and close it in the event loop that uses it."""

    def __init__(
        self,
        config: CallbackSettings,
        *,
        resolver: AbstractResolver | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """`resolver` and `ssl_context` replace the default ones. A resolver's addresses are checked in any case."""
        self._config = config
        self._resolver = resolver
        self._ssl = ssl_context or True

    async def __aenter__(self) -> Sender:
        inner = self._resolver or aiohttp.ThreadedResolver()
        connector = aiohttp.TCPConnector(
            limit=2 * self._config.concurrency,  # slow calls have room of their own
            # The resolver checks names. The socket factory checks every address when it connects.
            resolver=inner if self._config.private else PublicResolver(inner),
            socket_factory=None if self._config.private else public_socket,
            ttl_dns_cache=_DNS_SECONDS,
            ssl=self._ssl,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=self._config.timeout),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
        )
        return self

    async def __aexit__(self, *_raised: object) -> None:
        await self._session.close()

    async def send(self, url: str, *, headers: dict[str, str], body: bytes) -> Answer:
        """POST once. Errors are returned as an answer, not raised."""
        try:
            async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as response:
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    await _read(response.content)
                return _answer(response)
        except TimeoutError:
            return Answer(TIMEOUT)
        except aiohttp.ClientSSLError:
            return Answer(TLS)
        except aiohttp.ClientConnectorError as error:
            return Answer(ADDRESS_REFUSED if isinstance(error.os_error, AddressRefused) else UNREACHABLE)
        except aiohttp.InvalidURL:
            return Answer(INVALID_URL)
        except aiohttp.ClientError:
            return Answer(CONNECTION_LOST)
        except (asyncio.CancelledError, KeyboardInterrupt):
            raise
        except Exception:
            # A bug with one URL must not end the process for all.
            log.exception("callback_failed_unexpectedly", url=url)
            return Answer(INTERNAL)


async def _read(content: aiohttp.StreamReader) -> None:
    left = _READ_BYTES
    while left > 0 and (chunk := await content.read(left)):
        left -= len(chunk)


def _answer(response: aiohttp.ClientResponse) -> Answer:
    status = response.status
    if 200 <= status < 300:
        return Answer(DELIVERED, status)
    if status == 410:
        return Answer(GONE, status)
    if status in (429, 503):
        outcome = THROTTLED if status == 429 else SERVER_ERROR
        return Answer(outcome, status, retry_after_seconds(response.headers.getall("Retry-After", ())))
    if status < 400:
        return Answer(REDIRECT, status)
    return Answer(CLIENT_ERROR if status < 500 else SERVER_ERROR, status)
