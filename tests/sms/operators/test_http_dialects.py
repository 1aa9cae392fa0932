"""Answers and receipts of operators over HTTP in other forms than JSON, and other places of the token."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
from typing import Any
from uuid import UUID

import pytest
from aiohttp import web
from rest_framework.test import APIClient

from apps.sms.events import DeliveryRequested
from apps.sms.operators.base import Submission, SubmitError
from apps.sms.operators.generic_http import GenericHttp
from apps.sms.operators.xml_documents import decode_xml
from smsgateway import config
from tests.support.customers import MakeCustomer
from tests.support.operators import answering, message
from tests.support.receipts import accept, receive, status_of, submit

PATH = "/v1/operators/rightel/receipts"
BEARER = {"Authorization": "Bearer long-enough"}


def described(**settings: str) -> config.HttpOperator:
    given = {"url": "http://127.0.0.1:9/{recipient}", "receipt_token": "long-enough"} | settings
    loaded, problems = config.load(
        {"OPERATORS_HTTP": "rightel"} | {f"OPERATOR_RIGHTEL_{name.upper()}": value for name, value in given.items()}
    )
    assert not [problem for problem in problems if "RIGHTEL" in problem.message]
    return loaded.http_operators["rightel"]


def answer_to(
    body: bytes, content_type: str, sent: DeliveryRequested | None = None, *, status: int = 200, **settings: str
) -> Submission | str:
    """What the gateway makes of an answer: the submission, or the error's kind and code."""

    async def handle(request: web.Request) -> web.Response:
        return web.Response(body=body, status=status, headers={"Content-Type": content_type})

    async def scenario() -> Submission | str:
        async with answering(handle) as url:
            operator = GenericHttp("rightel", described(url=url + "/{recipient}", **settings))
            try:
                return await operator.submit(sent or message())
            except SubmitError as error:
                return f"{type(error).__name__} {error.code}"
            finally:
                await operator.close()

    return asyncio.run(scenario())


@pytest.mark.parametrize(
    ("body", "content_type", "settings", "expected"),
    [
        # receipts.md
        (b'{"success": true, "id": "x1"}', "application/json", {"code_path": "success", "code_ok": "true"}, "x1"),
        (
            b'{"status": 1, "data": [{"messageid": 8792343}]}',
            "application/json",
            {"code_path": "status", "code_ok": "1", "id_path": "data.messageid"},
            "8792343",
        ),
        (b'\xef\xbb\xbf{"id": "x1"}', "application/json", {}, "x1"),
        # Forms
        (b"status=0&id=x1", "text/plain", {"answer": "form", "code_path": "status"}, "x1"),
        (b"\xef\xbb\xbfid=x%201", "text/html", {"answer": "form"}, ""),
        # XML
        (
            b"<r><status>0</status><id>x1</id></r>",
            "text/xml",
            {"answer": "xml", "code_path": "r.status", "id_path": "r.id"},
            "x1",
        ),
        (b'<?xml version="1.0"?>\n<r><m id="x1"/></r>', "text/html", {"answer": "xml", "id_path": "r.m.id"}, "x1"),
        (
            b'\xef\xbb\xbf \n<?xml version="1.0" encoding="utf-8"?><s:e xmlns:s="urn:x"><s:id>x1</s:id></s:e>',
            "application/xml",
            {"answer": "xml", "id_path": "e.id"},
            "x1",
        ),
        ("<r><id>x1</id></r>".encode("utf-16"), "application/xml", {"answer": "xml", "id_path": "r.id"}, "x1"),
        (
            b"<r><id>0012</id></r>",
            "application/xml",
            {"answer": "xml", "id_path": "r.id", "id_comparison": "numeric"},
            "12",
        ),
    ],
)
def test_an_answer_is_read_in_its_form(body: bytes, content_type: str, settings: dict[str, str], expected: str) -> None:
    found = answer_to(body, content_type, **settings)
    assert isinstance(found, Submission)
    assert found.operator_message_id == expected


def test_a_refusal_in_xml_is_one() -> None:
    settings = {"answer": "xml", "code_path": "r.status", "throttled": "20"}
    assert answer_to(b"<r><status>13</status></r>", "text/xml", **settings) == "PermanentSubmitError 13"
    assert answer_to(b"<r><status>20</status></r>", "text/xml", **settings) == "Throttled throttled"


@pytest.mark.parametrize(
    "body",
    [
        b"<r><id>x1</id>",
        b'<!DOCTYPE r [<!ENTITY a "x1">]><r><id>&a;</id></r>',
        b'<!DOCTYPE r SYSTEM "http://127.0.0.1/x"><r><id>x1</id></r>',
        b"<r>" * 100 + b"</r>" * 100,
        b"<r>" + b"<a/>" * 60_000 + b"</r>",
        b"",
        b"x1",
        b'<?xml version="1.0" encoding="klingon"?><r/>',
    ],
)
def test_xml_that_is_broken_or_dangerous_is_no_document(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_xml(body)


def test_elements_of_one_name_are_a_list_and_go_before_attributes() -> None:
    assert decode_xml(b'<r id="0"><id>1</id><id>2</id><id>3</id></r>') == {"r": {"id": ["1", "2", "3"]}}
    assert decode_xml(b'<r a="1">text</r>') == {"r": {"a": "1", "#text": "text"}}


def test_metadata_goes_into_the_request() -> None:
    bodies = []

    async def handle(request: web.Request) -> web.Response:
        bodies.append(await request.json())
        return web.Response(body=b'{"id": "1"}')

    async def scenario() -> None:
        async with answering(handle) as url:
            body = (
                '{"to": "{recipient}", "text": "{text}", "template": "{metadata.template_id}", "x": "{metadata.none}"}'
            )
            operator = GenericHttp("rightel", described(url=url, body=body))
            sent = message()
            sent.metadata["template_id"] = "1107"
            await operator.submit(sent)
            await operator.close()

    asyncio.run(scenario())
    assert (bodies[0]["template"], bodies[0]["x"]) == ("1107", "")


# Receipts


@pytest.fixture
def message_ids(make_customer: MakeCustomer) -> list[UUID]:
    """Two messages, which the operator took as `1` and `2`."""
    found = accept(make_customer(), 2)
    for number, message_id in enumerate(found, start=1):
        submit(message_id, str(number), operator="rightel")
    return found


def post(
    api: APIClient, settings: Any, body: bytes, content_type: str = "", *, query: str = "", **changes: str
) -> tuple[int, str]:
    """The status and the problem's code. `changes`: settings, and `authorization`."""
    headers = {"Authorization": changes.pop("authorization", BEARER["Authorization"])}
    settings.CONFIG = dataclasses.replace(settings.CONFIG, http_operators={"rightel": described(**changes)})
    answer: Any = api.generic("POST", PATH + query, body, content_type=content_type, headers=headers)
    return answer.status_code, answer.json().get("code", "")


ITEMS = {"receipt_id": "messageId", "receipt_status": "status.name"}


@pytest.mark.parametrize(
    ("body", "content_type", "changes"),
    [
        (b"id=1&status=delivered", "application/x-www-form-urlencoded", {}),
        (b"id=1&status=delivered", "text/plain", {}),
        (b"id=1&status=delivered", "", {}),
        (b"\xef\xbb\xbfid=1&status=delivered", "text/html", {}),
        (b'{"id": 1, "status": "Delivered to handset"}', "application/octet-stream", {}),
        (b"<receipt><id>1</id><status>DELIVRD</status></receipt>", "application/xml", {}),
        (b'<?xml version="1.0"?><a><b><receipt id="1" status="DELIVRD"/></b></a>', "text/xml; charset=utf-8", {}),
        (
            b"<r><dlr><messageId>1</messageId><status><name>DELIVRD</name></status></dlr></r>",
            "",
            {"receipt_id": "r.dlr.messageId", "receipt_status": "r.dlr.status.name"},
        ),
        (b'{"results": [{"messageId": "1", "status": {"name": "DELIVRD"}}]}', "application/json", ITEMS),
        (
            b'--b\r\nContent-Disposition: form-data; name="id"\r\n\r\n1\r\n'
            b'--b\r\nContent-Disposition: form-data; name="status"\r\n\r\ndelivered\r\n--b--\r\n',
            "multipart/form-data; boundary=b",
            {},
        ),
        (b'{"id": "0001", "status": "DELIVRD"}', "application/json", {"id_comparison": "ignore-zeros"}),
    ],
)
def test_a_receipt_is_read_in_any_form(
    message_ids: list[UUID], api: APIClient, settings: Any, body: bytes, content_type: str, changes: dict[str, str]
) -> None:
    assert post(api, settings, body, content_type, **changes) == (200, "")
    receive()
    assert [status_of(message_id) for message_id in message_ids] == ["delivered", "submitted"]


def test_a_multipart_form_that_is_none_is_refused(message_ids: list[UUID], api: APIClient, settings: Any) -> None:
    nested = b"".join(
        b'--b\r\nContent-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (n, n) for n in range(3000)
    )
    for body in (nested, b"--b", b"--b\r\nContent-Disposition: form-data; name*=x''%ff\r\n\r\n1\r\n--b--"):
        assert post(api, settings, body, "multipart/form-data; boundary=b")[0] == 400
    assert status_of(message_ids[0]) == "submitted"


def test_every_receipt_of_a_list_in_xml_counts(message_ids: list[UUID], api: APIClient, settings: Any) -> None:
    body = b"<r><d><i>1</i><s>DELIVRD</s></d><d><i>2</i><s>UNDELIV</s></d></r>"
    assert post(api, settings, body, "text/xml", receipt_id="r.d.i", receipt_status="r.d.s") == (200, "")
    receive()
    assert [status_of(message_id) for message_id in message_ids] == ["delivered", "undelivered"]


def test_a_state_on_the_way_is_recorded_and_changes_nothing(
    message_ids: list[UUID], api: APIClient, settings: Any
) -> None:
    assert post(api, settings, b"id=1&status=BUFFERED") == (200, "")
    receive()
    assert status_of(message_ids[0]) == "submitted"


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("auth", "authorization", "query", "expected"),
    [
        ("bearer", "Bearer long-enough", "", 200),
        ("bearer", basic("x:long-enough"), "", 401),
        ("bearer", "", "?token=long-enough", 401),
        ("basic", basic("operator:long-enough"), "", 200),
        ("basic", "basic " + base64.b64encode(b":long-enough").decode(), "", 200),
        ("basic", basic("operator:wrong"), "", 401),
        ("basic", "Basic ????", "", 401),
        ("basic", "Bearer long-enough", "", 401),
        ("query", "", "?token=long-enough", 200),
        ("query", "", "?token=wrong&token=long-enough", 200),
        ("query", "", "?token=wrong", 401),
        ("query", "", "?key=long-enough", 401),
        ("query", "", "", 401),
        ("any", "", "?token=long-enough", 200),
        ("any", basic("a:long-enough"), "", 200),
        ("any", "Bearer long-enough", "", 200),
        ("any", "", "", 401),
    ],
)
def test_the_token_is_taken_where_the_settings_say(
    message_ids: list[UUID], api: APIClient, settings: Any, auth: str, authorization: str, query: str, expected: int
) -> None:
    body = b'{"id": 1, "status": "DELIVRD"}'
    found, _ = post(
        api, settings, body, "application/json", query=query, receipt_auth=auth, authorization=authorization
    )
    assert found == expected


def test_user_and_password_may_be_the_token_together(message_ids: list[UUID], api: APIClient, settings: Any) -> None:
    changes = {"receipt_auth": "basic", "receipt_token": "operator:secret-enough"}
    body = b'{"id": 1, "status": "DELIVRD"}'
    right, wrong = basic("operator:secret-enough"), basic("somebody:secret-enough")
    assert post(api, settings, body, authorization=right, **changes)[0] == 200
    assert post(api, settings, body, authorization=wrong, **changes)[0] == 401


# Settings that do not fit


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"METHOD": "GET", "URL": "http://x/send?to={recipient}"}, "METHOD is GET, so URL must have {text}."),
        ({"METHOD": "GET", "URL": "http://x/send?m={text}"}, "so URL must have {recipient} or {recipient_digits}."),
        ({"BODY": '{"to": "{recipient}"}'}, "METHOD is POST, so URL or BODY must have {text}."),
    ],
)
def test_a_request_without_what_it_needs_is_refused_with_one_line(changes: dict[str, str], complaint: str) -> None:
    given = {"URL": "http://x/", "RECEIPT_TOKEN": "long-enough"} | changes
    _, problems = config.load(
        {"OPERATORS_HTTP": "rightel"} | {f"OPERATOR_RIGHTEL_{name}": value for name, value in given.items()}
    )
    (problem,) = [str(problem) for problem in problems if "RIGHTEL" in str(problem)]
    assert complaint in problem
