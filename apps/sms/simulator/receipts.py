"""Posts delivery receipts to the gateway, and retries until it accepts them."""

from __future__ import annotations

import asyncio
from typing import Any, Final, NamedTuple

import aiohttp
import msgspec
import structlog

log = structlog.get_logger(__name__)

_CONCURRENCY: Final = 32
_TIMEOUT: Final = aiohttp.ClientTimeout(total=10)
_FIRST_RETRY: Final = 0.2  # seconds; doubles with each retry
_LONGEST_RETRY: Final = 10.0
# The gateway does not know the message: retrying cannot help.
_GIVE_UP: Final = frozenset({404, 410})


class _Due(NamedTuple):
    body: bytes
    failures: int
    tried: asyncio.Event


class ReceiptSender:
    """Sends one operator's receipts between `start` and `close`."""

    def __init__(self, *, url: str, token: str) -> None:
        self._url = url
        self._token = token
        self._due: asyncio.Queue[_Due] = asyncio.Queue()
        self._sent = self._pending = self._given_up = 0
        self._failing = False

    def start(self) -> None:
        """Begin to send, in the running event loop."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_CONCURRENCY),
            timeout=_TIMEOUT,
            headers={"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"},
        )
        self._senders = [asyncio.create_task(self._send_due()) for _ in range(_CONCURRENCY)]

    async def close(self) -> None:
        """Stop, and drop the receipts that are not sent yet."""
        for sender in self._senders:
            sender.cancel()
        await asyncio.gather(*self._senders, return_exceptions=True)
        await self._session.close()

    def schedule(self, receipt: dict[str, Any], *, delay: float) -> asyncio.Event:
        """Send a receipt in `delay` seconds. The returned event is set after the first try."""
        self._pending += 1
        due = _Due(msgspec.json.encode(receipt), 0, asyncio.Event())
        self._queue_later(delay, due)
        return due.tried

    def summary(self) -> dict[str, int]:
        """Counts of receipts: accepted by the gateway, still to be sent, refused for good."""
        return {
            "receipts_sent": self._sent,
            "receipts_pending": self._pending,
            "receipts_given_up": self._given_up,
        }

    def _queue_later(self, delay: float, due: _Due) -> None:
        asyncio.get_running_loop().call_later(delay, self._due.put_nowait, due)

    async def _send_due(self) -> None:
        while True:
            due = await self._due.get()
            answer = await self._post(due.body)
            due.tried.set()
            if answer in _GIVE_UP:
                self._given_up += 1
                self._pending -= 1
            elif isinstance(answer, int) and 200 <= answer < 300:
                self._sent += 1
                self._pending -= 1
                self._failing = False
            else:
                if not self._failing:  # one line for a row of failures
                    log.warning("receipts_not_taken", url=self._url, answer=answer)
                    self._failing = True
                delay = min(_LONGEST_RETRY, _FIRST_RETRY * 2 ** min(due.failures, 10))
                self._queue_later(delay, due._replace(failures=due.failures + 1))

    async def _post(self, body: bytes) -> int | str:
        """The status of the answer, or the error."""
        try:
            async with self._session.post(self._url, data=body) as response:
                return response.status
        except (aiohttp.ClientError, TimeoutError) as error:
            return str(error) or "timeout"
