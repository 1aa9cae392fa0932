"""An operator's 2xx that cannot be read: it took the message, which must not go out again."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from prometheus_client import REGISTRY

from apps.sms.operators import http, registry
from apps.sms.operators.base import Operator, PermanentSubmitError, Submission, SubmitError, TransientSubmitError
from smsgateway import config
from smsgateway.kafka import client as kafka
from tests.support.delivery import (
    WAIT_SECONDS,
    RunningWorker,
    config_of_its_own,
    produce,
    read_statuses,
    requested,
    wait_until,
)
from tests.support.operators import answering, message

UNREADABLE = "delivery_unreadable_answers_total"


def built(url: str, **settings: str) -> Operator:
    environment = {
        "OPERATORS_HTTP": "rightel",
        "OPERATOR_RIGHTEL_URL": url,
        "OPERATOR_RIGHTEL_RECEIPT_TOKEN": "receipt-token",
        "OPERATOR_RIGHTEL_TIMEOUT": "30",
    } | {f"OPERATOR_RIGHTEL_{name.upper()}": value for name, value in settings.items()}
    found, problems = config.load(environment)
    assert [str(problem) for problem in problems if "OPERATOR" in problem.message] == []
    return registry.build(found)["rightel"]


@asynccontextmanager
async def raw_server(answer: bytes) -> AsyncIterator[str]:
    """A server that reads a request, writes these octets and closes."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.partition(b":")[2]))
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


def submit_to_raw(answer: bytes, **settings: str) -> Submission:
    async def scenario() -> Submission:
        async with raw_server(answer) as url:
            client = built(url, **settings)
            try:
                return await client.submit(message())
            finally:
                await client.close()

    return asyncio.run(scenario())


def submit(body: bytes, *, headers: dict[str, str] | None = None, status: int = 200, **settings: str) -> str:
    """The operator's id as it is kept. Raises SubmitError."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=status, body=body, headers=headers)

    async def scenario() -> str:
        async with answering(answer) as url:
            client = built(url, **settings)
            try:
                return (await client.submit(message())).operator_message_id
            finally:
                await client.close()

    return asyncio.run(scenario())


def error_of(body: bytes, **settings: Any) -> SubmitError:
    with pytest.raises(SubmitError) as caught:
        submit(body, **settings)
    return caught.value


SUCCESS = {"code_path": "success", "code_ok": "true"}
STATUS = {"code_path": "status", "code_ok": "1"}


@pytest.mark.parametrize(
    ("body", "settings", "found"),
    [
        (b'{"success": true, "id": "x1"}', SUCCESS, "x1"),
        (b'{"success": true, "id": "x1"}', SUCCESS | {"code_ok": "True"}, "x1"),
        (b'{"success": "TRUE", "id": "x1"}', SUCCESS, "x1"),
        (b'{"failed": false, "id": "x1"}', {"code_path": "failed", "code_ok": "false"}, "x1"),
        (b'{"error": null, "id": "x1"}', {"code_path": "error", "code_ok": "null"}, "x1"),
        (b'{"id": "x1"}', {"code_path": "error", "code_ok": "null"}, "x1"),
        (b'{"error": "", "id": "x1"}', {"code_path": "error", "code_ok": "null"}, "x1"),
        (b'{"status": 1.0, "id": "x1"}', STATUS, "x1"),
        (b'{"status": 1.0, "id": "x1"}', STATUS | {"code_ok": "1.0"}, "x1"),
        (b'{"status": 1e0, "id": 1.5e3}', STATUS, "1500"),
        (b'{"status": 1, "id": 8792343.0}', STATUS, "8792343"),
        (b'{"status": 1, "id": 123456789012345678901234567890}', STATUS, "123456789012345678901234567890"),
        (b'{"status": 1, "data": [{"messageid": 8792343}]}', STATUS | {"id_path": "data.messageid"}, "8792343"),
        (b'{"status": 1, "data": [{"messageid": 8792343}]}', STATUS | {"id_path": "data.0.messageid"}, "8792343"),
        (b'[{"status": 1, "id": "x1"}]', STATUS, "x1"),
        (b'{"status": 1, "id": ["x1"]}', STATUS, "x1"),
        (b'\xef\xbb\xbf{"status": 1, "id": "x1"}', STATUS, "x1"),
        (b'\n\xef\xbb\xbf {"status": 1, "id": "x1"}\n\0', STATUS, "x1"),
        ('{"status": 1, "id": "x1"}'.encode("utf-16"), STATUS, "x1"),
        ('{"status": 1, "id": "x1"}'.encode("utf-16-le"), STATUS, "x1"),
        ('{"status": 1, "id": "x1"}'.encode("utf-16-be"), STATUS, "x1"),
        ('{"status": 1, "id": "x1"}'.encode("utf-32"), STATUS, "x1"),
        ('{"status": 1, "id": "x1", "text": "قبول شد"}'.encode("cp1256"), STATUS, "x1"),
        (b"\xef\xbb\xbfOK-77\r\n", {"answer": "text"}, "OK-77"),
        ("OK-77".encode("utf-16"), {"answer": "text"}, "OK-77"),
    ],
)
def test_what_is_plain_is_read(body: bytes, settings: dict[str, str], found: str) -> None:
    assert submit(body, **settings) == found


@pytest.mark.parametrize("content_type", ["text/html", "text/plain; charset=windows-1256", "application/problem+json"])
def test_the_content_type_does_not_matter(content_type: str) -> None:
    assert submit(b'{"id": "x1"}', headers={"Content-Type": content_type}) == "x1"
    assert submit('{"id": "é1"}'.encode("latin-1"), headers={"Content-Type": "text/json; charset=latin-1"}) == "é1"


@pytest.mark.parametrize(
    ("body", "settings", "reason"),
    [
        (b"", {}, "no_document"),
        (b"<html>Wartung</html>", {}, "no_document"),
        (b'{"id": "x', {}, "no_document"),
        (b"null", {}, "no_document"),
        (b"[" * 100_000, {}, "no_document"),
        (b"{}", {}, "no_id"),
        (b'{"id": null}', {}, "no_id"),
        (b'{"id": ""}', {}, "no_id"),
        (b'{"id": {"x": 1}}', {}, "no_id"),
        (b'{"id": 1e999999999}', {}, "no_id"),
        (b'{"id": "\xff1"}', {}, "no_id"),
        (b'{"data": [{"id": 1}, {"id": 2}]}', {"id_path": "data.id"}, "no_id"),
        (b'{"id": "' + b"1" * 65 + b'"}', {}, "no_id"),
        (b'{"id": "x1' + b" " * 400_000 + b'"}', {}, "too_long"),
        (b"not an id at all", {"answer": "text"}, "no_id"),
        (b"", {"answer": "text"}, "no_id"),
        (b"<html>", STATUS, "no_document"),
        (b'{"status": null, "data": {}}', STATUS, "no_code"),
        (b'{"status": {"code": 1}}', STATUS, "no_code"),
    ],
)
def test_what_cannot_be_read_was_taken(
    body: bytes, settings: dict[str, str], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = {"operator": "rightel", "reason": reason}
    before = REGISTRY.get_sample_value(UNREADABLE, labels) or 0
    lines: list[tuple[str, str, int]] = []

    def warning(event: str, **fields: Any) -> None:
        lines.append((event, fields["reason"], fields["http_status"]))

    monkeypatch.setattr(http, "log", SimpleNamespace(warning=warning))
    assert submit(body, **settings) == ""
    assert REGISTRY.get_sample_value(UNREADABLE, labels) == before + 1
    assert lines == [("operator_answer_unreadable", reason, 200)]


def test_an_id_beside_a_code_that_cannot_be_read_is_kept() -> None:
    assert submit(b'{"id": "x1"}', **STATUS) == "x1"


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(HEAD + b'Content-Length: 500\r\n\r\n{"id": "x', id="truncated"),
        pytest.param(HEAD + b'Transfer-Encoding: chunked\r\n\r\n9\r\n{"id": "x\r\n', id="truncated chunks"),
        pytest.param(HEAD + b"Content-Encoding: gzip\r\nContent-Length: 9\r\n\r\n\x1f\x8b\x08broken", id="bad gzip"),
        pytest.param(
            HEAD + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b'{"id": "x1"}')[:-12], id="truncated gzip"
        ),
        pytest.param(HEAD + b"Content-Encoding: br\r\n\r\n\x0b\x02\x80abc\x03", id="unknown encoding"),
        pytest.param(
            HEAD + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b" " * 100_000_000), id="gzip that grows too large"
        ),
        pytest.param(HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}", id="bad chunk size"),
        pytest.param(HEAD + b"no header at all\r\n\r\n{}", id="bad header"),
        pytest.param(HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", id="two lengths"),
        pytest.param(HEAD, id="closed within the head"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", id="no content"),
    ],
)
def test_a_2xx_whose_body_breaks_was_taken(answer: bytes) -> None:
    assert submit_to_raw(answer) == Submission("")


def test_a_2xx_whose_body_does_not_come_in_time_was_taken() -> None:
    async def scenario() -> Submission:
        ended = asyncio.Event()

        async def answer(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            await ended.wait()
            return response

        async with answering(answer) as url:
            client = built(url, timeout="0.2")
            try:
                return await client.submit(message())
            finally:
                ended.set()
                await client.close()

    assert asyncio.run(scenario()) == Submission("")


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("gzip", gzip.compress(b'{"id": "x1"}', mtime=0)),
        ("deflate", zlib.compress(b'{"id": "x1"}')),
        ("deflate", zlib.compress(b'{"id": "x1"}', wbits=-15)),
        ("gzip", b'{"id": "x1"}'),  # said to be packed, and not
    ],
)
def test_a_packed_answer_is_read(encoding: str, packed: bytes) -> None:
    head = HEAD + f"Content-Encoding: {encoding}\r\nContent-Length: {len(packed)}\r\n\r\n".encode()
    assert submit_to_raw(head + packed) == Submission("x1")


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="closed before the status"),
        pytest.param(b"HTTP/1.1 2", id="closed within the status"),
        pytest.param(b"HTTP/1.1 500 Bad\r\nno header at all\r\n\r\n", id="an error with a bad header"),
        pytest.param(b"SMPP", id="no HTTP"),
        pytest.param(b"HTTP/1.1 400 Bad\r\nContent-Length: 500\r\n\r\n{", id="a refusal that breaks off"),
    ],
)
def test_without_a_2xx_nobody_knows_and_it_is_tried_again(answer: bytes) -> None:
    with pytest.raises(TransientSubmitError) as caught:
        submit_to_raw(answer)
    assert caught.value.code == "connection_lost"


@pytest.mark.parametrize(
    ("body", "settings", "code"),
    [
        (b'{"success": false, "id": "x1"}', SUCCESS, "false"),
        (b'{"status": 2.0, "id": "x1"}', STATUS, "2"),
        (b'\xef\xbb\xbf{"status": 2}', STATUS, "2"),
        (b'{"error": "no\\u0000credit"}', {"code_path": "error", "code_ok": "null"}, "nocredit"),
    ],
)
def test_an_answer_that_was_read_and_says_failure_is_one(body: bytes, settings: dict[str, str], code: str) -> None:
    error = error_of(body, **settings)
    assert isinstance(error, PermanentSubmitError)
    assert error.code == code


def test_the_lists_of_the_settings_decide_about_a_2xx_without_its_code() -> None:
    error = error_of(b"try later", status=202, **STATUS | {"transient": "http_202"})
    assert isinstance(error, TransientSubmitError)


@pytest.mark.breaks("OperatorAnswersUnreadable")
@pytest.mark.parametrize(
    ("body", "settings", "status", "error"),
    [
        (b'{"success": true, "id": "x1"}', SUCCESS, "submitted", ""),
        (b"<html>", {}, "submitted", ""),
        (b'\xef\xbb\xbf{"id": "x1"}', {}, "submitted", ""),
        (b'{"success": false, "id": "x1"}', SUCCESS, "rejected", "false"),
    ],
)
def test_a_worker_submits_once_whatever_it_is_answered(
    body: bytes, settings: dict[str, str], status: str, error: str
) -> None:
    phones: Counter[str] = Counter()
    sent = requested(operator="rightel")
    labels = {"operator": "rightel", "reason": "no_document"}
    before = REGISTRY.get_sample_value("delivery_unreadable_answers_total", labels) or 0

    async def answer(request: web.Request) -> web.Response:
        phones[(await request.json())["to"]] += 1
        return web.Response(body=body)

    own = config_of_its_own(retry_base=0.01, retry_cap=0.02, max_retries=3)
    produce(own, [(0, sent)])
    kafka.producer(own.kafka, client_id="test").list_topics(own.kafka.topic_status, timeout=WAIT_SECONDS)

    def deliver(url: str) -> None:
        with RunningWorker(own, built(url, **settings)):  # type: ignore[arg-type]
            wait_until(lambda: bool(read_statuses(own)))

    async def scenario() -> None:
        async with answering(answer) as url:
            await asyncio.to_thread(deliver, url)

    asyncio.run(scenario())
    [event] = read_statuses(own)
    assert (event.status, event.error, event.attempt) == (status, error, 1)
    assert phones == {sent.to: 1}
    after = REGISTRY.get_sample_value("delivery_unreadable_answers_total", labels) or 0
    assert after - before == (body == b"<html>")
