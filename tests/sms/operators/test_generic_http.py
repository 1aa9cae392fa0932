"""Operators whose HTTP API is described by settings."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import pytest
from aiohttp import web

from apps.sms.errors import OperatorNotFound
from apps.sms.operators import registry
from apps.sms.operators.base import InvalidReceipt, Operator, Receipt, Throttled, TransientSubmitError
from smsgateway import config, ids
from tests.support.operators import Receiver, answering, message, receipt_of, simulating, summary, until
from tests.support.smpp import outcome

TEXT = 'He said "hi" & {sender}\n\\ €=%20+1 سلام'


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


class Api:
    """An operator that keeps what it gets, and answers `answer` with `status`."""

    def __init__(self, answer: object = None, *, status: int = 200, **headers: str) -> None:
        self.answer = answer if isinstance(answer, str) else json.dumps({"id": "1"} if answer is None else answer)
        self.status = status
        self.headers = headers
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.raw_path, dict(request.headers), await request.read()))
        return web.Response(status=self.status, text=self.answer, headers=self.headers)


@asynccontextmanager
async def operator(api: Api, path: str = "/send", **settings: str) -> AsyncIterator[Operator]:
    async with answering(api.handle) as url:
        client = built(url + path, **settings)
        try:
            yield client
        finally:
            await client.close()


def test_a_json_template_is_filled_and_nothing_in_a_text_changes_its_shape() -> None:
    template = {
        "messages": [
            {"to": "{recipient}", "from": "{sender}", "body": "{text}", "dcs": "{dcs}", "parts": "{segments}"}
        ],
        "ref": "gw-{reference}",
        "digits": "{recipient_digits}",
        "kind": "{encoding}",
        "ttl": "{validity}",
        "flash": False,
    }
    api = Api()
    sent = msgspec.structs.replace(message(text=TEXT), expires_at=(int(time.time()) + 500) * 1000)

    async def scenario() -> None:
        headers = json.dumps({"X-Api-Key": "k", "Accept": "application/json"})
        async with operator(api, body=json.dumps(template), headers=headers, token="our-token") as client:
            await client.submit(sent)

    asyncio.run(scenario())
    [(method, path, headers, body)] = api.requests
    document = json.loads(body)
    assert 400 < document.pop("ttl") <= 500
    assert document == {
        "messages": [{"to": sent.to, "from": sent.sender, "body": TEXT, "dcs": 8, "parts": 1}],
        "ref": f"gw-{sent.message_id}",
        "digits": sent.to[1:],
        "kind": "ucs2",
        "flash": False,
    }
    assert (method, path, headers["Authorization"], headers["X-Api-Key"]) == ("POST", "/send", "Bearer our-token", "k")
    assert headers["Content-Type"] == "application/json"


def test_a_form_is_escaped() -> None:
    api, sent = Api(), message(text=TEXT)

    async def scenario() -> None:
        body = '{"to": "{recipient}", "text": "{text}", "dcs": "{dcs}"}'
        async with operator(api, body=body, body_format="form", method="PUT") as client:
            await client.submit(sent)

    asyncio.run(scenario())
    [(method, _, headers, body)] = api.requests
    assert parse_qsl(body.decode()) == [("to", sent.to), ("text", TEXT), ("dcs", "8")]
    assert (method, headers["Content-Type"]) == ("PUT", "application/x-www-form-urlencoded")
    assert "Authorization" not in headers


def test_a_url_is_escaped_and_an_answer_may_be_the_id_alone() -> None:
    api, sent = Api("OK-77\n"), message(text=TEXT)

    async def scenario() -> None:
        path = "/send?to={recipient}&text={text}&x=%2B"
        async with operator(api, path, method="GET", answer="text") as client:
            assert (await client.submit(sent)).operator_message_id == "OK-77"

    asyncio.run(scenario())
    [(method, path, _, body)] = api.requests
    assert parse_qsl(path.partition("?")[2]) == [("to", sent.to), ("text", TEXT), ("x", "+")]
    assert (method, body) == ("GET", b"")


@pytest.mark.parametrize(
    ("answer", "path", "found"),
    [
        ({"id": "007"}, "id", "007"),
        ({"result": [{"messageId": 18446744073709551615}]}, "result.0.messageId", "18446744073709551615"),
        ('"a1"', "id", None),
        ({"id": ""}, "id", None),
        ({"id": {"x": 1}}, "id", None),
        ({"result": []}, "result.0.id", None),
        ("<html>", "id", None),
    ],
)
def test_the_id_is_where_the_settings_say(answer: object, path: str, found: str | None) -> None:
    async def scenario() -> None:
        async with operator(Api(answer), id_path=path) as client:
            if found:
                assert (await client.submit(message())).operator_message_id == found
            else:
                assert (await client.submit(message())).operator_message_id == ""

    asyncio.run(scenario())


CODED = {"code_path": "error.code", "code_ok": "0,OK", "throttled": "http_429,20", "permanent": "http_503,40"}
CODED["transient"] = "http_401,http_5xx,11"


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (200, 0, "accepted"),
        (202, "OK", "accepted"),
        (200, 20, "Throttled throttled"),
        (200, 11, "TransientSubmitError 11"),
        (500, 11, "TransientSubmitError 11"),
        (200, 31, "PermanentSubmitError 31"),
        (400, 40, "PermanentSubmitError 40"),
        (500, 40, "PermanentSubmitError 40"),
        (429, 99, "Throttled throttled"),
        (500, None, "TransientSubmitError http_500"),
        (503, None, "PermanentSubmitError http_503"),
        (401, None, "TransientSubmitError http_401"),
        (404, None, "PermanentSubmitError http_404"),
        (500, 0, "TransientSubmitError http_500"),
        (200, None, "accepted"),
    ],
)
def test_what_an_answer_means(status: int, code: object, expected: str) -> None:
    async def scenario() -> None:
        answer: dict[str, Any] = {"id": "1"} if code is None else {"id": "1", "error": {"code": code}}
        async with operator(Api(answer, status=status), **CODED) as client:
            assert await outcome(client, message()) == expected

    asyncio.run(scenario())


def test_without_a_code_the_status_tells_and_says_how_long_to_wait() -> None:
    async def scenario() -> None:
        async with operator(Api(status=429, **{"Retry-After": "7"})) as client:
            with pytest.raises(Throttled) as caught:
                await client.submit(message())
            assert caught.value.retry_after == 7.0
        for status, expected in ((400, "PermanentSubmitError http_400"), (302, "TransientSubmitError http_302")):
            async with operator(Api(status=status)) as client:
                assert await outcome(client, message()) == expected

    asyncio.run(scenario())


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://127.0.0.1:99999/"])
def test_an_operator_that_is_not_there(url: str) -> None:
    async def scenario() -> None:
        client = built(url)
        with pytest.raises(TransientSubmitError) as caught:
            await client.submit(message())
        assert caught.value.code == "unreachable"
        await client.close()

    asyncio.run(scenario())


MESSAGE_ID = ids.new_id()
RECEIPTS = {
    "receipt_reference": "data.ref",
    "receipt_id": "data.id",
    "receipt_status": "data.state",
    "receipt_statuses": "2=delivered, 3=expired, 5=undelivered, 8=rejected, 1=ignored",
    "receipt_error": "data.err",
    "receipt_time": "data.at",
}
DATA = {"ref": ids.to_text(MESSAGE_ID), "id": "007", "state": 2, "err": "", "at": "2026-01-01T00:00:00+03:30"}


def receipt(data: dict[str, Any], **settings: str) -> Receipt | None:
    return receipt_of(built("http://x.example/", **RECEIPTS | settings), json.dumps({"data": data}).encode())


def test_a_receipt_is_read_where_the_settings_say() -> None:
    assert receipt(DATA) == Receipt(
        reference=MESSAGE_ID, operator_message_id="007", status="delivered", error="", at=1_767_213_000_000, state="2"
    )
    failed = receipt(DATA | {"state": "5", "err": 27})
    assert failed is not None
    assert (failed.status, failed.error) == ("undelivered", "27")


def test_a_stage_on_the_way_is_no_receipt() -> None:
    assert receipt(DATA | {"state": 1}) is None


def test_reference_error_and_time_may_be_missing_where_the_settings_name_none() -> None:
    before = time.time_ns() // 1_000_000
    found = receipt({"id": "7", "state": 2}, receipt_reference="", receipt_error="", receipt_time="")
    assert found is not None
    assert (found.reference, found.error) == (None, "")
    assert found.at >= before


@pytest.mark.parametrize(("form", "at"), [("unix", 1_767_213_000), ("unix-milliseconds", 1_767_213_000_000)])
def test_times_in_numbers(form: str, at: int) -> None:
    found = receipt(DATA | {"at": at}, receipt_time_format=form)
    assert found is not None
    assert found.at == 1_767_213_000_000


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"ref": "x"}, {"data.ref": "invalid"}),
        ({"ref": None, "id": "a b"}, {"data.ref": "missing", "data.id": "invalid"}),
        ({"state": "WHO"}, {"data.state": "invalid"}),
        ({"id": "\ufffd1"}, {"data.id": "invalid"}),
        ({"at": "yesterday"}, {"data.at": "invalid"}),
        ({"at": "2026-01-01T00:00:00"}, {"data.at": "invalid"}),
        ({"at": None}, {"data.at": "missing"}),
        ({"err": "a\nb"}, {"data.err": "invalid"}),
    ],
)
def test_a_wrong_field_is_named_by_its_path(changes: dict[str, Any], wrong: dict[str, str]) -> None:
    with pytest.raises(InvalidReceipt) as caught:
        receipt(DATA | changes)
    assert {error["field"]: error["code"] for error in caught.value.errors} == wrong


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[]", b"1", b"[" * 100_000])
def test_a_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidReceipt) as caught:
        receipt_of(built("http://x.example/"), body)
    assert caught.value.errors[0]["code"] == "malformed_json"


def test_the_mapping_speaks_the_dialect_of_an_operator_that_has_a_package() -> None:
    """The example of docs/reference/operators.md, against the simulator."""
    settings = {
        "token": "mci-token",
        "body": '{"reference": "{reference}", "sender": "{sender}", "recipient": "{recipient}", "text": "{text}", '
        '"coding": "{encoding}"}',
        "id_path": "messageId",
        "code_path": "",
        "receipt_reference": "reference",
        "receipt_id": "messageId",
        "receipt_error": "error",
        "receipt_time": "doneAt",
        "receipt_time_format": "unix-milliseconds",
    }

    async def scenario() -> None:
        receiver = Receiver()
        async with receiver.listening() as receipts_url, simulating(receipts_url=receipts_url) as url:
            client = built(f"{url}/mci/v1/messages", **settings)
            sent = message("+989125550002")
            submission = await client.submit(sent)

            async def reported() -> bool:
                return (await summary(url, "mci"))["receipts_sent"] == 1

            await until(reported)
            (body,) = receiver.bodies
            found = receipt_of(client, body)
            assert found is not None
            assert (found.reference, found.operator_message_id, found.status, found.error) == (
                ids.from_text(sent.message_id),
                submission.operator_message_id,
                "undelivered",
                "absent_subscriber",
            )
            assert await outcome(client, message("+989125550003")) == "PermanentSubmitError http_422"
            assert await outcome(client, message("+989125550004")) == "Throttled throttled"
            assert await outcome(client, message("+989125550006")) == "TransientSubmitError http_503"
            await client.close()

    asyncio.run(scenario())


def test_the_registry_knows_every_operator_that_settings_name() -> None:
    found, _ = config.load(
        {
            "OPERATORS_HTTP": "rightel, backup",
            "OPERATORS_SMPP": "shatel",
            "OPERATOR_RIGHTEL_IN_FLIGHT": "7",
            "OPERATOR_RIGHTEL_SEGMENTS_PER_SECOND": "2.5",
            "OPERATOR_RIGHTEL_RECEIPT_TOKEN": "long-enough",
        }
    )
    operators = registry.build(found)
    assert tuple(operators) == registry.names(found)
    assert list(operators) == ["mci", "irancell", "rightel", "backup", "shatel"]
    assert [name for name, one in operators.items() if one.name != name] == []
    assert operators["rightel"].limits == (7, 2.5)
    assert operators["shatel"].limits == (10, 0)
    assert not operators["shatel"].is_connected
    assert registry.operator_settings(found, "rightel").receipt_token == "long-enough"
    with pytest.raises(OperatorNotFound, match="over SMPP"):
        registry.operator_settings(found, "shatel")
