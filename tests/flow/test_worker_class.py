"""The API's server, spoken to by sockets: slow clients, pieces, pipelines, stops."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import socket
import termios
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from django.db import connection, transaction

from apps.devservices.gateway import API, Gateway
from apps.sms.models import Message
from smsgateway import ids
from tests.support.customers import MakeCustomer
from tests.support.database import database_url, wait_until_blocked
from tests.support.receipts import accept, submit
from tests.support.running_gateway import call, with_api

pytestmark = [pytest.mark.flow, pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]

Connect = Callable[[], socket.socket]


@pytest.fixture(scope="module")
def gateway(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    environment = os.environ | {"DATABASE_URL": database_url(), "HTTP_THREADS": "2", "LOG_LEVEL": "warning"}
    with Gateway(directory=tmp_path_factory.mktemp("gateway"), environ=environment, workers=1) as running:
        yield running


@pytest.fixture
def one_process(gateway: Gateway, transactional_db: None) -> Gateway:
    """The API in one process of two threads; the same for all tests that do not end it."""
    return with_api(gateway)


@pytest.fixture
def connect(one_process: Gateway) -> Iterator[Connect]:
    with ExitStack() as stack:
        address = urlsplit(one_process.api_url)
        yield lambda: stack.enter_context(socket.create_connection((address.hostname, address.port), timeout=60))


@pytest.fixture
def request_bytes(make_customer: MakeCustomer) -> bytes:
    return raw(ids.to_text(make_customer(balance=10_000)))


def raw(customer_id: str, *, text: str = "hi", chunked: bool = False) -> bytes:
    body = json.dumps({"customer_id": customer_id, "to": "09121234567", "text": text}).encode()
    head = b"POST /v1/sms/send HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n"
    if chunked:
        pieces = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (body[:20], body[20:]))
        return head + b"Transfer-Encoding: chunked\r\n\r\n" + pieces + b"0\r\n\r\n"
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


def head(more: bytes) -> bytes:
    """The head of a request for one message, but for how long its body is."""
    return b"POST /v1/sms/send HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n" + more + b"\r\n"


def chunked(chunks: bytes, more: bytes = b"") -> bytes:
    return head(b"Transfer-Encoding: chunked\r\n" + more) + chunks


def read_to_end(client: socket.socket) -> bytes:
    """What follows until the connection ends."""
    found = b""
    with suppress(ConnectionError):
        while piece := client.recv(65_536):
            found += piece
    return found


def read_answers(client: socket.socket, count: int) -> list[bytes]:
    """The status lines of the next `count` answers."""
    found = b""
    while found.count(b'"balance":') < count:
        piece = client.recv(65_536)
        assert piece, found
        found += piece
    return [line for line in found.split(b"\r\n") if line.startswith(b"HTTP/1.1") or b"HTTP/1.1 " in line]


def test_one_connection_sends_again_and_again(connect: Connect, request_bytes: bytes) -> None:
    client = connect()
    for _ in range(5):
        client.sendall(request_bytes)
        assert len(read_answers(client, 1)) == 1
    assert Message.objects.count() == 5


def test_an_answer_tells_its_length(connect: Connect, request_bytes: bytes) -> None:
    """Also what a thread answers. A connection that is to be closed says so."""
    read = b"GET /v1/openapi.json HTTP/1.1\r\nHost: gateway\r\n\r\n"
    for sent in (request_bytes, read):
        client = connect()
        client.sendall(sent)
        with client.makefile("rb") as answer:
            head = b"".join(iter(answer.readline, b"\r\n"))
            assert b"\r\nConnection: keep-alive" in head
            assert b"chunked" not in head
            length = int(head.partition(b"\r\nContent-Length: ")[2].split(b"\r\n")[0])
            assert json.loads(answer.read(length))
    client = connect()
    client.sendall(request_bytes.replace(b"\r\nHost", b"\r\nConnection: close\r\nHost", 1))
    with client.makefile("rb") as answer:
        whole = answer.read()  # to the end of the connection
    assert b"\r\nConnection: close" in whole
    assert whole.endswith(b"}")


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"GET /v1/sms?reference=%s HTTP/1.1\r\nHost: gateway\r\n\r\n" % (b"x" * 9000), 414, "uri_too_long"),
        (b"GET /v1/sms HTTP/1.1\r\nX-Request-ID: %s\r\n\r\n" % (b"x" * 9000), 431, "headers_too_large"),
        (b"GET /v1/sms HTTP/1.1\r\n%s\r\n" % (b"X: y\r\n" * 101), 431, "headers_too_large"),
        (b"GET /v1/sms\x00 HTTP/nine\r\n\r\n", 400, "malformed_request"),
        (b"GET /v1/sms HTTP/1.1\r\nno header\r\n\r\n", 400, "malformed_request"),
        (chunked(b"zz\r\n{}\r\n0\r\n\r\n"), 400, "malformed_request"),
        (chunked(b"-1\r\n{}\r\n0\r\n\r\n"), 400, "malformed_request"),
        (chunked(b"\r\n{}\r\n0\r\n\r\n"), 400, "malformed_request"),
        (chunked(b"%s\r\n" % (b"f" * 9000)), 400, "malformed_request"),
        (chunked(b"2;x=\x01\r\n{}\r\n0\r\n\r\n"), 400, "malformed_request"),
        (chunked(b"2\r\n{}}\r\n0\r\n\r\n"), 400, "malformed_request"),
        (chunked(b"2\r\n{}\r\n0\r\nno trailer\r\n\r\n"), 400, "malformed_request"),
        (chunked(b"2\r\n{}\r\n"), 400, "malformed_request"),  # no last chunk
        (chunked(b"5\r\n{}"), 400, "malformed_request"),
        (chunked(b"2\r\n{}\r\n0\r\n\r\n", b"Content-Length: 2\r\n"), 400, "malformed_request"),
        (chunked(b"2\r\n{}\r\n0\r\n\r\n", b"Transfer-Encoding: gzip\r\n"), 400, "malformed_request"),
        (head(b"Transfer-Encoding: gzip\r\n") + b"{}", 400, "malformed_request"),
        (head(b"Transfer-Encoding: br, chunked\r\n") + b"2\r\n{}\r\n0\r\n\r\n", 400, "malformed_request"),
        (head(b"Content-Length: 2\r\nContent-Length: 3\r\n") + b"{}", 400, "malformed_request"),
        (head(b"Content-Length: -2\r\n") + b"{}", 400, "malformed_request"),
        (head(b"Content-Length: 3\r\n") + b"{}", 400, "malformed_request"),
        (head(b"Content-Length: 2\r\n").replace(b"json", b"json; charset=hex") + b"{}", 415, "unsupported_media_type"),
        (head(b"Content-Length: 2\r\n").replace(b"json", b"x; a*=q''b") + b"{}", 415, "unsupported_media_type"),
    ],
)
def test_what_the_server_refuses_is_told_as_a_problem(connect: Connect, sent: bytes, status: int, code: str) -> None:
    client = connect()
    client.sendall(sent)
    client.shutdown(socket.SHUT_WR)
    with client.makefile("rb") as answer:
        headers, _, body = answer.read().partition(b"\r\n\r\n")  # to the end of the connection
    told = json.loads(body)
    assert headers.startswith(b"HTTP/1.1 %d " % status)
    assert b"\r\nContent-Type: application/problem+json" in headers
    assert (told["status"], told["code"]) == (status, code)
    assert f"X-Request-ID: {told['request_id']}".encode() in headers
    assert not re.search(r"b'|\\[rnx]", told["detail"])  # as Python writes octets


def test_requests_on_each_others_heels_are_all_answered(connect: Connect, request_bytes: bytes) -> None:
    client = connect()
    client.sendall(request_bytes * 4)
    assert len(read_answers(client, 4)) == 4
    assert Message.objects.count() == 4


@pytest.mark.parametrize("cut", [1, 30, 120, -1])
def test_a_request_in_pieces_is_done_once(connect: Connect, request_bytes: bytes, cut: int) -> None:
    client = connect()
    client.sendall(request_bytes[:cut])
    other = connect()
    other.sendall(request_bytes)  # answered while the first one is still incomplete
    read_answers(other, 1)
    client.sendall(request_bytes[cut:])
    read_answers(client, 1)
    assert Message.objects.count() == 2


def test_a_send_larger_than_is_looked_at_is_taken(connect: Connect, make_customer: MakeCustomer) -> None:
    client = connect()
    client.sendall(raw(ids.to_text(make_customer(balance=10_000)), text="س" * 1000))
    read_answers(client, 1)
    assert Message.objects.count() == 1


def test_a_body_of_untold_length_is_taken(connect: Connect, make_customer: MakeCustomer) -> None:
    customer_id = ids.to_text(make_customer(balance=10_000))
    client = connect()
    for chunked in (True, False, True):
        client.sendall(raw(customer_id, chunked=chunked))
        read_answers(client, 1)
    assert Message.objects.count() == 3


def test_a_body_of_untold_length_has_the_same_limit(connect: Connect) -> None:
    client = connect()
    client.sendall(b"POST /v1/sms/batch HTTP/1.1\r\nHost: gateway\r\nTransfer-Encoding: chunked\r\n\r\n")
    with suppress(OSError):  # it is told before all of it is sent
        for _ in range(7):
            client.sendall(b"%x\r\n%s\r\n" % (1 << 20, b" " * (1 << 20)))
        client.sendall(b"0\r\n\r\n")
    assert b" 413 " in client.recv(65_536)


def test_slow_clients_hold_up_no_send(connect: Connect, request_bytes: bytes) -> None:
    idle, slow = connect(), connect()
    slow.sendall(request_bytes[:-5])
    for _ in range(10):
        client = connect()
        client.sendall(request_bytes)
        read_answers(client, 1)
    assert Message.objects.count() == 10
    idle.sendall(request_bytes)
    read_answers(idle, 1)


def test_clients_that_fall_silent_hold_up_nobody_for_long(connect: Connect, make_customer: MakeCustomer) -> None:
    """More of them than the process has threads: in a head, in a body and in a chunk."""
    customer = ids.to_text(make_customer(balance=10_000))
    in_head, in_body, in_chunk = connect(), connect(), connect()
    in_head.sendall(b"POST /v1/sms/batch HTTP/1.1\r\nHost: gate")
    in_body.sendall(raw(customer)[:-5])
    in_chunk.sendall(chunked(b"ff\r\n{"))
    client = connect()
    client.sendall(raw(customer, chunked=True))
    assert b" 200 " in read_answers(client, 1)[0]
    for silent in (in_head, in_body, in_chunk):
        assert b" 408 " in silent.recv(65_536)
        silent.sendall(raw(customer))  # what comes now belongs to no request
        assert not read_to_end(silent)
    assert Message.objects.count() == 1


def test_sends_that_come_while_a_statement_is_in_flight_are_written_together(
    one_process: Gateway, connect: Connect, make_customer: MakeCustomer
) -> None:
    first, *others = (ids.to_text(make_customer(balance=10_000)) for _ in range(6))
    clients = {customer: connect() for customer in (first, *others)}
    for customer, client in clients.items():  # what is remembered between requests is read
        client.sendall(raw(customer))
        read_answers(client, 1)
    before = written_together(one_process)
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE sms_outboxentry IN EXCLUSIVE MODE")
        clients[first].sendall(raw(first))
        wait_until_blocked(1)
        for customer in others:
            clients[customer].sendall(raw(customer))
            wait_until_arrived(clients[customer])
        assert call("GET", f"{one_process.api_url}/healthz")[0] == 200  # so the loop has read what came before
    for client in clients.values():
        assert b" 200 " in read_answers(client, 1)[0]
    after = written_together(one_process)
    assert [after[0] - before[0], after[1] - before[1]] == [2, 1 + len(others)]


def written_together(gateway: Gateway) -> tuple[float, float]:
    """How many groups were written, and how many sends they had."""
    with urllib.request.urlopen(f"{gateway.api_url}/metrics") as answer:
        told = answer.read().decode()
    count, total = (re.search(rf"^sms_written_together_{name} (.+)$", told, re.M) for name in ("count", "sum"))
    assert count
    assert total
    return float(count[1]), float(total[1])


def test_receipts_that_come_while_a_transaction_is_in_flight_are_recorded_together(
    one_process: Gateway, connect: Connect, make_customer: MakeCustomer
) -> None:
    message_ids = accept(make_customer(balance=10_000), 6)
    for message_id in message_ids:
        submit(message_id, "7")
    operators = [connect() for _ in message_ids]
    for operator in operators:
        operator.sendall(receipt(ids.new_id()))
        assert status_line(operator).startswith(b"HTTP/1.1 404 ")
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE sms_outboxentry IN EXCLUSIVE MODE")
        for place, (operator, message_id) in enumerate(zip(operators, message_ids, strict=True)):
            operator.sendall(receipt(message_id))
            wait_until_arrived(operator)
            if place == 0:
                wait_until_blocked(1)
        assert call("GET", f"{one_process.api_url}/healthz")[0] == 200  # so the loop has read what came before
    assert [status_line(operator)[:13] for operator in operators] == [b"HTTP/1.1 200 "] * 6
    with connection.cursor() as cursor:
        cursor.execute("SELECT message_id, xmin::text FROM sms_outboxentry WHERE payload IS NOT NULL")
        recorded = dict(cursor.fetchall())
    assert recorded.keys() == set(message_ids)
    assert len(set(recorded.values()) - {recorded[message_ids[0]]}) == 1  # the transaction that wrote the other five


def receipt(message_id: UUID) -> bytes:
    told = {"reference": ids.to_text(message_id), "messageId": "7", "status": "DELIVRD", "doneAt": 1_800_000_000_000}
    body = json.dumps(told).encode()
    return (
        b"POST /v1/operators/mci/receipts HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n"
        b"Authorization: Bearer development-only\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    )


def status_line(client: socket.socket) -> bytes:
    """The answer's first line, when all of it has come."""
    with client.makefile("rb") as answer:
        head = b"".join(iter(answer.readline, b"\r\n"))
        answer.read(int(head.partition(b"\r\nContent-Length: ")[2].split(b"\r\n")[0]))
    return head.partition(b"\r\n")[0]


def wait_until_arrived(client: socket.socket) -> None:
    """Return when the other side's socket holds all that was sent."""
    unacknowledged = b"...."
    while any(unacknowledged):
        unacknowledged = fcntl.ioctl(client, termios.TIOCOUTQ, b"....")


def test_a_stop_answers_what_has_begun_and_leaves_idle_clients(
    one_process: Gateway, connect: Connect, request_bytes: bytes
) -> None:
    connect()  # never sends anything
    used = connect()
    used.sendall(request_bytes)
    read_answers(used, 1)
    begun = connect()
    begun.sendall(request_bytes[:-5])
    assert call("GET", f"{one_process.api_url}/healthz")[0] == 200
    os.kill(one_process.pid(API), signal.SIGTERM)
    begun.sendall(request_bytes[-5:])
    read_answers(begun, 1)
    assert one_process.stop(API) == 0
    assert Message.objects.count() == 2
