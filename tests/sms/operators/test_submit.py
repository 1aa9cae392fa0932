"""How each operator's client reads each kind of answer, over real HTTP."""

from __future__ import annotations

import asyncio
import datetime as dt
import email.utils
import json
from typing import Any

import pytest
from aiohttp import web

from apps.sms.operators.base import PermanentSubmitError, Submission, SubmitError, Throttled, TransientSubmitError
from tests.support.operators import CONFIG, Handler, answering, message, operator, unreachable_url

BOTH = pytest.mark.parametrize("name", ["mci", "irancell"])


def fixed(status: int, body: object, **headers: str) -> Handler:
    """A handler that always answers this; bytes go as they are, anything else as JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=status, body=raw, headers=headers)

    return answer


def submit(name: str, handler: Handler, **settings: Any) -> str:
    async def scenario() -> str:
        async with answering(handler) as url, operator(name, url, **settings) as built:
            return (await built.submit(message())).operator_message_id

    return asyncio.run(scenario())


def error_of(name: str, handler: Handler, **settings: Any) -> SubmitError:
    with pytest.raises(SubmitError) as caught:
        submit(name, handler, **settings)
    return caught.value


def recorded(name: str, answer: object, **fields: str) -> tuple[web.Request, dict[str, Any], str]:
    """The request that a submit makes, its body, and the message's id."""
    seen: list[tuple[web.Request, dict[str, Any]]] = []
    sent = message(**fields)

    async def record(request: web.Request) -> web.Response:
        seen.append((request, await request.json()))
        return web.json_response(answer)

    async def scenario() -> None:
        async with answering(record) as url, operator(name, url + "/") as built:
            await built.submit(sent)

    asyncio.run(scenario())
    ((request, body),) = seen
    return request, body, sent.message_id


def test_mci_is_given_the_message_in_its_own_shape() -> None:
    request, body, message_id = recorded("mci", {"messageId": "1"}, to="+989121234567", text="سلام 🌱")
    assert (request.method, request.path) == ("POST", "/mci/v1/messages")
    assert request.headers["Authorization"] == "Bearer mci-token"
    assert request.content_type == "application/json"
    assert body == {
        "reference": message_id,
        "sender": "98100",
        "recipient": "+989121234567",
        "text": "سلام 🌱",
        "coding": "ucs2",
    }


@pytest.mark.parametrize(("encoding", "dcs"), [("gsm7", 0), ("ucs2", 8)])
def test_irancell_is_given_the_message_in_its_own_shape(encoding: str, dcs: int) -> None:
    answer = {"status": 0, "id": "1"}
    request, body, message_id = recorded("irancell", answer, to="+989351234567", text="hello", encoding=encoding)
    assert (request.method, request.path) == ("POST", "/irancell/sms/submit")
    assert request.headers["Authorization"] == "Bearer irancell-token"
    assert body == {
        "clientRef": message_id,
        "src": "98100",
        "dst": "+989351234567",
        "body": "hello",
        "dcs": dcs,
    }


@pytest.mark.parametrize("operator_id", ["0012", "00000000000000000001", "18446744073709551615", "a-b_C.9"])
def test_operator_ids_are_kept_exactly_as_given(operator_id: str) -> None:
    assert submit("mci", fixed(202, {"messageId": operator_id})) == operator_id
    assert submit("irancell", fixed(200, {"status": 0, "id": operator_id})) == operator_id


@BOTH
@pytest.mark.parametrize("status", [302, 401, 408, 425, 500, 502, 503, 504])
def test_statuses_that_say_nothing_of_the_message_are_transient(name: str, status: int) -> None:
    error = error_of(name, fixed(status, {"error": {"code": "x"}, "status": 31}, Location="/elsewhere"))
    assert isinstance(error, TransientSubmitError)
    assert (error.code, error.retry_after) == (f"http_{status}", None)


@BOTH
@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "Thu, 01 Dec 99999999999999 16:00:00 GMT"}, None),
        ({"Retry-After": "Thu, 01 Dec 2030 16:00:00 +99999999999999999999"}, None),
        ({}, None),
    ],
)
def test_throttling_tells_how_long_to_wait(name: str, header: dict[str, str], seconds: float | None) -> None:
    error = error_of(name, fixed(429, b"slow down", **header))
    assert isinstance(error, Throttled)
    assert (error.code, error.retry_after) == ("throttled", seconds)


def test_an_unavailable_operator_may_also_tell_how_long_to_wait() -> None:
    error = error_of("mci", fixed(503, b"", **{"Retry-After": "120"}))
    assert isinstance(error, TransientSubmitError)
    assert error.retry_after == 120.0


def test_retry_after_may_be_a_date() -> None:
    in_an_hour = email.utils.format_datetime(dt.datetime.now(dt.UTC) + dt.timedelta(hours=1), usegmt=True)
    error = error_of("mci", fixed(429, b"", **{"Retry-After": in_an_hour}))
    assert isinstance(error, Throttled)
    assert error.retry_after is not None
    assert 0 < error.retry_after <= 3600


def test_a_retry_after_date_in_the_past_means_at_once() -> None:
    error = error_of("mci", fixed(429, b"", **{"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}))
    assert isinstance(error, Throttled)
    assert error.retry_after == 0.0


@pytest.mark.parametrize("status", [400, 403, 404, 422])
def test_mci_refuses_for_good_with_its_own_code(status: int) -> None:
    body = {"error": {"code": "recipient_barred", "message": "The recipient is barred."}}
    error = error_of("mci", fixed(status, body))
    assert isinstance(error, PermanentSubmitError)
    assert error.code == "recipient_barred"


@pytest.mark.parametrize("http_status", [200, 400])
def test_irancell_refuses_for_good_by_a_number_whatever_the_http_status(http_status: int) -> None:
    error = error_of("irancell", fixed(http_status, {"status": 31}))
    assert isinstance(error, PermanentSubmitError)
    assert error.code == "31"


@pytest.mark.parametrize("status", [11, 12])
def test_irancell_can_be_out_of_service_with_http_200(status: int) -> None:
    error = error_of("irancell", fixed(200, {"status": status}))
    assert isinstance(error, TransientSubmitError)
    assert error.code == str(status)


def test_irancell_can_throttle_with_http_200() -> None:
    assert isinstance(error_of("irancell", fixed(200, {"status": 20})), Throttled)


BROKEN = [b"", b"<html>", b"\xff", b"[]", b"null", b"{}", b"[" * 100_000]


@pytest.mark.parametrize("body", [*BROKEN, b'{"messageId": ""}', b'{"messageId": "1\\u0000"}'])
def test_mci_took_a_message_whatever_its_answer_lacks(body: bytes) -> None:
    assert submit("mci", fixed(202, body)) == ""


@pytest.mark.parametrize("body", [*BROKEN, b'{"status": 0}', b'{"status": true, "id": ""}'])
def test_irancell_took_a_message_whatever_its_answer_lacks(body: bytes) -> None:
    assert submit("irancell", fixed(200, body)) == ""


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("mci", b'{"messageId": 12}'),
        ("mci", b'\xef\xbb\xbf{"messageId": 12.0}'),
        ("mci", '{"messageId": "12"}'.encode("utf-16")),
        ("irancell", b'{"status": 0, "id": 12}'),
        ("irancell", b'{"status": "0", "id": "12"}'),
        ("irancell", b'{"status": 0.0, "id": 1.2e1}'),
        ("irancell", b'\xef\xbb\xbf{"status": 0, "id": "12"}'),
    ],
)
def test_an_answer_in_other_words_for_the_same_is_read(name: str, body: bytes) -> None:
    assert submit(name, fixed(200, body)) == "12"


def test_an_error_that_mci_names_with_a_2xx_is_a_refusal() -> None:
    error = error_of("mci", fixed(200, {"error": {"code": "recipient_barred"}}))
    assert isinstance(error, PermanentSubmitError)
    assert error.code == "recipient_barred"


@BOTH
@pytest.mark.parametrize("body", BROKEN)
def test_a_refusal_in_other_words_than_the_operators_is_not_its_refusal(name: str, body: bytes) -> None:
    error = error_of(name, fixed(404, body))
    assert isinstance(error, TransientSubmitError)
    assert error.code == "invalid_answer"


def test_irancell_does_not_accept_with_an_error_status() -> None:
    error = error_of("irancell", fixed(400, {"status": 0, "id": "1"}))
    assert isinstance(error, TransientSubmitError)
    assert error.code == "invalid_answer"


@BOTH
def test_no_answer_in_time_is_transient(name: str) -> None:
    async def scenario() -> SubmitError:
        answered = asyncio.Event()

        async def silent(_request: web.Request) -> web.Response:
            await answered.wait()
            return web.Response()

        async with answering(silent) as url, operator(name, url, timeout=0.1) as built:
            with pytest.raises(TransientSubmitError) as caught:
                await built.submit(message())
            answered.set()
            return caught.value

    assert asyncio.run(scenario()).code == "timeout"


@BOTH
def test_a_connection_closed_without_an_answer_is_transient(name: str) -> None:
    async def close(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    error = error_of(name, close)
    assert isinstance(error, TransientSubmitError)
    assert error.code == "connection_lost"


@BOTH
def test_a_refused_connection_is_transient(name: str) -> None:
    async def scenario() -> str:
        async with operator(name, unreachable_url()) as built:
            with pytest.raises(TransientSubmitError) as caught:
                await built.submit(message())
            return caught.value.code

    assert asyncio.run(scenario()) == "unreachable"


def test_an_operator_is_built_outside_a_loop_and_can_be_used_again_after_close() -> None:
    async def scenario() -> list[Submission]:
        async with answering(fixed(202, {"messageId": "7"})) as url, operator("mci", url) as built:
            first = await built.submit(message())
            await built.close()
            return [first, await built.submit(message())]

    assert asyncio.run(scenario()) == [Submission("7"), Submission("7")]


def test_all_submits_that_a_worker_has_in_flight_are_at_the_operator_together() -> None:
    """None spends its time waiting for a place in the pool of connections."""
    in_flight = CONFIG.worker.concurrency

    async def scenario() -> None:
        waiting = 0
        everybody = asyncio.Event()

        async def answer(_request: web.Request) -> web.Response:
            nonlocal waiting
            waiting += 1
            if waiting == in_flight:
                everybody.set()
            await everybody.wait()
            return web.json_response({"messageId": "1"})

        async with answering(answer) as url, operator("mci", url) as built:
            await asyncio.gather(*(built.submit(message()) for _ in range(in_flight)))

    asyncio.run(scenario())
