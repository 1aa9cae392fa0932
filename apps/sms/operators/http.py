"""What operators with a JSON-over-HTTP API share: connections, limits, the meaning of HTTP's answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec

from apps.sms.operators.base import Throttled, TransientSubmitError
from smsgateway.config import Operator as OperatorSettings
from smsgateway.headers import retry_after_seconds

if TYPE_CHECKING:
    import aiohttp

T = TypeVar("T")

# Statuses that speak of the connection or of our credentials, not of the message.
_TRANSIENT_STATUSES = frozenset({401, 408, 425})


class Answer(NamedTuple):
    """An operator's answer about one message: a 2xx, or a 4xx that refuses it."""

    status: int
    body: bytes

    @property
    def refused(self) -> bool:
        return self.status >= 400

    def read(self, kind: type[T]) -> T:
        """The body as `kind`. Raises TransientSubmitError: another shape is not the operator's word."""
        try:
            return msgspec.json.decode(self.body, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise TransientSubmitError("invalid_answer") from None


class HttpAnswer(NamedTuple):
    """What came back, whatever it means. `retry_after`: the seconds that it asks to wait, if it does."""

    status: int
    body: bytes
    retry_after: float | None


class HttpConnections:
    """At most `connections` connections to an operator; a request waits `timeout` seconds at most for its answer."""

    def __init__(self, *, connections: int, timeout: float, headers: Mapping[str, str]) -> None:
        self._connections = connections
        self._timeout = timeout
        self._headers = headers
        self._session: aiohttp.ClientSession | None = None

    async def request(self, method: str, url: str, body: bytes | None = None) -> HttpAnswer:
        """Send a request. Raises TransientSubmitError: no connection, or no answer in time."""
        # Imported here: the accept path knows these classes for their routes and needs no HTTP client.
        import aiohttp
        import yarl

        try:
            async with self._open().request(
                method, yarl.URL(url, encoded=True), data=body, allow_redirects=False
            ) as response:
                retry_after = retry_after_seconds(response.headers.getall("Retry-After", ()))
                return HttpAnswer(response.status, await response.read(), retry_after)
        except TimeoutError:
            raise TransientSubmitError("timeout") from None
        except (aiohttp.ClientConnectorError, ValueError):  # a ValueError: no URL
            raise TransientSubmitError("unreachable") from None
        except aiohttp.ClientError:
            raise TransientSubmitError("connection_lost") from None

    async def close(self) -> None:
        """Close the connections."""
        if self._session:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        import aiohttp

        if self._session is None:  # not in the constructor: a session belongs to the loop it is made in
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._connections),
                timeout=aiohttp.ClientTimeout(total=self._timeout),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=self._headers,
            )
        return self._session


class JsonApi:
    """A JSON API under a base URL, with a bearer token."""

    def __init__(self, settings: OperatorSettings) -> None:
        self._url = settings.url.rstrip("/")
        self._connections = HttpConnections(
            connections=settings.in_flight,
            timeout=settings.timeout,
            headers={"Authorization": f"Bearer {settings.token}", "Content-Type": "application/json"},
        )

    async def post(self, path: str, payload: dict[str, Any]) -> Answer:
        """Send `payload`.

        Raises Throttled (429) or TransientSubmitError: no connection, no answer in time, 5xx, or a status
        that says nothing of the message.
        """
        answer = await self._connections.request("POST", self._url + path, msgspec.json.encode(payload))
        if answer.status == 429:
            raise Throttled(retry_after=answer.retry_after)
        if answer.status in _TRANSIENT_STATUSES or 300 <= answer.status < 400 or answer.status >= 500:
            raise TransientSubmitError(f"http_{answer.status}", retry_after=answer.retry_after)
        return Answer(answer.status, answer.body)

    async def close(self) -> None:
        """Close the connections."""
        await self._connections.close()
