"""The API's server with clients of every kind: upgrades, announced bodies, closed halves, limits, held accounts."""

from __future__ import annotations

import gzip
import json
import os
import socket
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from django.db import transaction

from apps.balance.models import Account
from apps.balance.selectors import accounts_off
from apps.customers.keys import key_create, key_revoke
from apps.devservices.gateway import Gateway
from apps.sms.models import Message
from smsgateway import ids
from tests.support.customers import MakeCustomer
from tests.support.database import database_url, wait_until_blocked
from tests.support.running_gateway import with_api
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.flow, pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]

Connect = Callable[[], socket.socket]
MOST = 20


@pytest.fixture(scope="module")
def gateway(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    environment = os.environ | {
        "DATABASE_URL": database_url(),
        "DATABASE_LOCK_TIMEOUT": "2000",
        "HTTP_CONNECTIONS": str(MOST),
        "HTTP_CONNECTIONS_PER_ADDRESS": "0",
        "HTTP_MAX_BODY_BYTES": "100000",
        "API_KEYS": "optional",
        "API_KEYS_CACHE": "0.5",
        "LOG_LEVEL": "warning",
    }
    with Gateway(directory=tmp_path_factory.mktemp("gateway"), environ=environment, workers=1) as running:
        yield running


@pytest.fixture
def one_process(gateway: Gateway, transactional_db: None) -> Gateway:
    """The API in one process that accepts few connections, and gives a lock up soon. One for all tests."""
    return with_api(gateway)


@pytest.fixture
def connect(one_process: Gateway) -> Iterator[Connect]:
    with ExitStack() as stack:
        address = urlsplit(one_process.api_url)
        yield lambda: stack.enter_context(socket.create_connection((address.hostname, address.port), timeout=60))


def send(customer_id: UUID, *more: str, body: bytes | None = None, text: str = "hi") -> bytes:
    document = {"customer_id": ids.to_text(customer_id), "to": "09121234567", "text": text}
    body = json.dumps(document).encode() if body is None else body
    lines = ["POST /v1/sms/send HTTP/1.1", "Host: gateway", "Content-Type: application/json", *more]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def get(path: str, *more: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: gateway", *more, "", ""]).encode()


def answer(client: socket.socket, *, has_body: bool = True) -> tuple[int, bytes, bytes]:
    """Status, head and body of the next answer."""
    with client.makefile("rb", buffering=0) as stream:  # so that nothing of a later answer is read
        head = b"".join(iter(stream.readline, b"\r\n"))
        length = int(head.partition(b"\r\nContent-Length: ")[2].split(b"\r\n")[0]) if has_body else 0
        body = b""
        while len(body) < length and (part := stream.read(length - len(body))):
            body += part
    return int(head.split(b" ")[1]), head, body


def test_a_client_may_announce_its_body_and_wait(connect: Connect, make_customer: MakeCustomer) -> None:
    whole = send(make_customer(), "Expect: 100-continue")
    head, _, body = whole.partition(b"\r\n\r\n")
    client = connect()
    client.sendall(head + b"\r\n\r\n")
    assert client.recv(65_536) == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.sendall(body)
    assert answer(client)[0] == 200
    assert Message.objects.count() == 1


def test_an_announced_body_that_is_too_large_is_refused_unread(connect: Connect) -> None:
    client = connect()
    client.sendall(
        b"POST /v1/sms/batch HTTP/1.1\r\nHost: gateway\r\nExpect: 100-continue\r\nContent-Length: 100001\r\n\r\n"
    )
    status, head, body = answer(client)
    assert (status, json.loads(body)["code"]) == (413, "body_too_large")
    assert b"\r\nConnection: close" in head
    other = connect()
    other.sendall(b"POST /v1/sms/batch HTTP/1.1\r\nHost: gateway\r\nExpect: nothing\r\nContent-Length: 2\r\n\r\n")
    assert json.loads(answer(other)[2])["code"] == "malformed_request"


def test_an_upgrade_is_not_taken_up(connect: Connect, make_customer: MakeCustomer) -> None:
    customer_id = make_customer()
    client = connect()
    upgrade = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
    body = send(customer_id).partition(b"\r\n\r\n")[2]
    chunked = get(
        "/v1/sms/send", "Content-Type: application/json", *upgrade, "Transfer-Encoding: chunked", method="POST"
    )
    chunked += b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    client.sendall(get("/healthz", *upgrade) + send(customer_id, *upgrade) + chunked)
    client.sendall(send(customer_id, *upgrade)[:-20])
    client.sendall(send(customer_id, *upgrade)[-20:] + send(customer_id))
    with client.makefile("rb") as stream:
        for _ in range(5):
            head = b"".join(iter(stream.readline, b"\r\n"))
            assert head.startswith(b"HTTP/1.1 200 ")
            stream.read(int(head.partition(b"\r\nContent-Length: ")[2].split(b"\r\n")[0]))
    assert Message.objects.count() == 4


def test_a_client_that_sends_no_more_is_still_answered(connect: Connect, make_customer: MakeCustomer) -> None:
    customer_id = make_customer()
    for sent in (send(customer_id), get("/v1/openapi.json"), get("/healthz")):
        client = connect()
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        assert answer(client)[0] == 200
        assert client.recv(1) == b""
    assert Message.objects.count() == 1


def test_an_old_client_is_answered(connect: Connect, make_customer: MakeCustomer) -> None:
    client = connect()
    client.sendall(send(make_customer()).replace(b"HTTP/1.1", b"HTTP/1.0"))
    status, head, _ = answer(client)
    assert status == 200
    assert b"\r\nConnection: close" in head
    assert client.recv(1) == b""
    kept = connect()
    for _ in range(2):
        kept.sendall(get("/healthz", "Connection: keep-alive").replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert answer(kept)[0] == 200


def test_head_and_the_admins_files_are_served(connect: Connect) -> None:
    client = connect()
    client.sendall(get("/v1/openapi.json", method="HEAD") + get("/healthz"))
    status, head, _ = answer(client, has_body=False)
    assert status == 200
    assert b"\r\nContent-Length: " in head
    assert answer(client)[2] == b'{"process":"ok"}'
    client.sendall(get("/admin/login/"))
    status, _, page = answer(client)
    assert status == 200
    path = page.decode().partition("/admin/static/")[2].partition('"')[0]
    client.sendall(get(f"/admin/static/{path}"))
    status, _, file = answer(client)
    assert status == 200
    assert file


def test_a_gzip_body_is_taken(connect: Connect, make_customer: MakeCustomer) -> None:
    customer_id = make_customer()
    body = gzip.compress(send(customer_id).partition(b"\r\n\r\n")[2])
    client = connect()
    client.sendall(send(customer_id, "Content-Encoding: gzip", body=body))
    assert answer(client)[0] == 200
    assert Message.objects.count() == 1


def test_the_longest_idle_connection_makes_room(connect: Connect) -> None:
    clients = [connect() for _ in range(2 * MOST)]
    for client in clients[MOST:]:
        client.sendall(get("/healthz"))
        assert answer(client)[0] == 200
    assert clients[0].recv(1) == b""


def test_requests_of_a_client_that_reads_nothing_are_not_read_without_end(connect: Connect) -> None:
    client = connect()
    client.settimeout(5)
    many = get("/v1/openapi.json") * 1000
    with suppress(TimeoutError):
        while True:
            client.sendall(many)
    other = connect()
    other.sendall(get("/healthz"))
    assert answer(other)[0] == 200


def test_sends_to_held_accounts_delay_nobody_and_each_is_done_once(
    connect: Connect, make_customer: MakeCustomer
) -> None:
    held, other_held, free = (make_customer(balance=10_000) for _ in range(3))
    waiting = [(connect(), customer_id) for customer_id in (held, held, held, other_held)]
    with transaction.atomic():
        list(Account.objects.select_for_update().filter(customer_id__in=[held, other_held]))
        for client, customer_id in waiting:
            client.sendall(send(customer_id))
        wait_until_blocked(2)
        client = connect()
        for _ in range(3):
            client.sendall(send(free))
            assert answer(client)[0] == 200
    assert [answer(client)[0] for client, _ in waiting] == [200] * 4
    balances = {account.customer_id: account.balance for account in Account.objects.all()}
    assert balances == {held: 9_700, other_held: 9_900, free: 9_700}
    assert not accounts_off()


def test_sends_to_a_held_account_fail_together_and_replays_do_not_wait(
    one_process: Gateway, connect: Connect, make_customer: MakeCustomer
) -> None:
    held = make_customer(balance=10_000)
    first = connect()
    first.sendall(send(held, "Idempotency-Key: done"))
    done = answer(first)[2]
    clients = [connect() for _ in range(6)]
    with transaction.atomic():
        Account.objects.select_for_update().get(customer_id=held)
        for place, client in enumerate(clients):
            client.sendall(send(held, f"Idempotency-Key: {place}") if place % 2 else send(held))
        wait_until_blocked(1)
        first.sendall(send(held, "Idempotency-Key: done"))
        status, head, body = answer(first)
        assert (status, body) == (200, done)
        assert b"\r\nIdempotent-Replayed: true" in head
        answers = [answer(client) for client in clients]
        assert [status for status, *_ in answers] == [503, 409] * 3
    assert Account.objects.get(customer_id=held).balance == 9_900
    for place, client in enumerate(clients):
        client.sendall(send(held, f"Idempotency-Key: {place}") if place % 2 else send(held))
        assert answer(client)[0] == 200
    assert not accounts_off()


def test_a_new_key_works_at_once_and_a_revoked_one_ends(connect: Connect, make_customer: MakeCustomer) -> None:
    customer_id = make_customer(balance=100_000)
    client = connect()
    record, text = key_create(customer_id=customer_id)
    for authorization, expected in ((text, 200), (text[:-1] + ("A" if text[-1] != "A" else "B"), 401), (text, 200)):
        client.sendall(send(customer_id, f"Authorization: Bearer {authorization}"))
        assert answer(client)[0] == expected
    key_revoke(prefix=record.prefix)

    def is_refused() -> bool:
        client.sendall(send(customer_id, f"Authorization: Bearer {text}"))
        return answer(client)[0] == 401

    wait_for(is_refused, "the revoked key to end")


def test_the_server_shows_its_connections(one_process: Gateway, connect: Connect) -> None:
    clients = [connect() for _ in range(3)]
    for client in clients:
        client.sendall(get("/healthz"))
        answer(client)
    with urllib.request.urlopen(f"{one_process.api_url}/metrics") as response:
        shown = response.read().decode()
    assert "\nhttp_connections 4.0\n" in shown  # and this one
