"""Endpoints of customers as real HTTP servers, and workers in threads."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import http.server
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Self
from uuid import UUID

from django.conf import settings
from django.db.models.functions import Now
from standardwebhooks import Webhook

from apps.customers.callback_endpoints import DEFAULT_STATUSES, endpoint_set
from apps.sms import events
from apps.sms.accept.drafts import Draft
from apps.sms.accept.service import messages_accept
from apps.sms.callbacks.sender import Sender
from apps.sms.callbacks.worker import CallbackWorker
from apps.sms.models import Callback
from apps.sms.settlement.service import statuses_settle
from smsgateway import ids
from smsgateway.config.settings import Callback as CallbackSettings
from smsgateway.process import Process

WAIT_SECONDS = 120
DRAFT = Draft("+989121234567", "Shop", "hello", "gsm7", 1, 100, 1_900_000_000_000)


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    """Poll until the condition holds and return its value."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {WAIT_SECONDS} s in vain for {what}")
        time.sleep(0.01)
    return value


def config_with(**changes: Any) -> CallbackSettings:
    """The settings, with endpoints on this machine allowed unless told otherwise."""
    return dataclasses.replace(settings.CONFIG.callback, **{"allow_private": "true"} | changes)


class Received(NamedTuple):
    """A request that an endpoint got."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> dict[str, Any]:
        return dict(json.loads(self.body))

    def verified(self, secret: str) -> dict[str, Any]:
        """The event, as the specification's own library reads it; raises if the signature is wrong."""
        return dict(Webhook(secret).verify(self.body, self.headers))


Answer = tuple[int, dict[str, str]]


class Endpoint:
    """An HTTP server that answers as told (`answer`, by path and how many requests came before) and remembers."""

    def __init__(self, answer: Callable[[str, int], Answer] = lambda _path, _before: (204, {})) -> None:
        self.received: list[Received] = []
        self.lock = threading.Lock()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with outer.lock:
                    before = len(outer.received)
                    headers = {name.lower(): value for name, value in self.headers.items()}
                    outer.received.append(Received(self.path, headers, body))
                status, told = answer(self.path, before)
                with contextlib.suppress(OSError):  # who asked may have given up
                    self.send_response(status)
                    for name, value in told.items():
                        self.send_header(name, value)
                    self.end_headers()

            def log_message(self, *_arguments: Any) -> None:
                """Not a word."""

        class Server(http.server.ThreadingHTTPServer):
            request_queue_size = 128
            tls: ssl.SSLContext | None = None

            def finish_request(self, request: Any, client_address: Any) -> None:
                if self.tls is None:
                    super().finish_request(request, client_address)
                    return
                # The handshake, too, in the request's own thread; a client that turns away is no error of the server.
                with contextlib.suppress(OSError), self.tls.wrap_socket(request, server_side=True) as wrapped:
                    super().finish_request(wrapped, client_address)

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def serve_tls(self, context: ssl.SSLContext) -> None:
        """Speak TLS from here on."""
        self._server.tls = context

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_raised: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class RunningWorker:
    """A worker in a thread of its own; leaving it stops it as SIGTERM does, and raises what it failed with."""

    def __init__(self, config: CallbackSettings) -> None:
        self.process = Process("callbacks")
        self._error: BaseException | None = None
        self._config = config
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        worker = CallbackWorker(self.process, sender=Sender(self._config), config=self._config, chance=lambda: 0.5)
        try:
            asyncio.run(worker.run())
        except BaseException as error:
            self._error = error

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_raised: object) -> None:
        self.process.stop()
        self._thread.join()
        if self._error is not None:
            raise self._error

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()


def endpoint_of(customer_id: UUID, url: str, statuses: tuple[str, ...] = DEFAULT_STATUSES) -> str:
    """Set the customer's endpoint; its secret."""
    _, secret = endpoint_set(customer_id=customer_id, url=url, statuses=statuses, enabled=True)
    assert secret is not None
    return secret


def accept(customer_id: UUID, count: int = 1, **changes: Any) -> list[UUID]:
    """So many messages of the customer."""
    drafts = [DRAFT._replace(**changes)] * count
    return messages_accept(customer_id=customer_id, drafts=drafts, config=settings.CONFIG).message_ids


def event(message_id: UUID, customer_id: UUID, status: str) -> events.StatusChanged:
    """That the message reached the status."""
    return events.StatusChanged(
        message_id=ids.to_text(message_id),
        customer_id=ids.to_text(customer_id),
        status=status,
        at=1_800_000_000_000,
        operator="mci",
    )


def settle(customer_id: UUID, count: int = 1, status: str = "delivered", **changes: Any) -> list[UUID]:
    """Accept so many messages and let them reach the status; their ids."""
    message_ids = accept(customer_id, count, **changes)
    statuses_settle(batch=[event(message_id, customer_id, status) for message_id in message_ids])
    return message_ids


def let_time_pass() -> None:
    """What waits for its hour, or for the end of a lease, is due now."""
    Callback.objects.filter(status="pending").update(next_at=Now())


def counts() -> Iterator[tuple[str, int]]:
    """How many callbacks are in each state."""
    for status in Callback.Status.values:
        if number := Callback.objects.filter(status=status).count():
            yield status, number


def all_are(status: str) -> bool:
    """Whether every callback is in this state."""
    return [found for found, _ in counts()] == [status]
