"""Every body is read to its end or refused: gzip of any shape, charsets, marks, names that are repeated."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import hmac
import io
import json
import struct
import zlib
from itertools import pairwise
from typing import Any

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.test import RequestFactory
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from rest_framework.test import APIClient

from apps.sms.models import Message
from smsgateway import ids
from smsgateway.http.views import GatewayRequest
from tests.support.customers import MakeCustomer

BOM = b"\xef\xbb\xbf"


@pytest.fixture
def body(make_customer: MakeCustomer) -> bytes:
    text = {"customer_id": ids.to_text(make_customer()), "to": "09121234567", "text": "سلام"}
    return json.dumps(text, ensure_ascii=False).encode()


def send(
    api: APIClient, body: bytes, content_type: str = "application/json", path: str = "/v1/sms/send", **headers: str
) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return api.generic("POST", path, body, content_type=content_type, headers=named)


def refusal(response: Any) -> tuple[int, str, set[tuple[str, str]]]:
    assert response["Content-Type"] == "application/problem+json"
    problem = response.json()
    return response.status_code, problem["code"], {(one["field"], one["code"]) for one in problem.get("errors", [])}


MALFORMED_GZIP = (400, "invalid_request", {("", "malformed_gzip")})
MALFORMED_JSON = (400, "invalid_request", {("", "malformed_json")})
UNSUPPORTED: tuple[int, str, set[Any]] = (415, "unsupported_media_type", set())
TOO_LARGE: tuple[int, str, set[Any]] = (413, "body_too_large", set())


@given(cuts=st.lists(st.integers(1, 120), max_size=6), empty=st.integers(0, 3))
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
def test_all_members_of_a_gzip_body_are_one_body(api: APIClient, body: bytes, cuts: list[int], empty: int) -> None:
    places = [0, *sorted(cut for cut in cuts if cut < len(body)), len(body)]
    members = [body[start:end] for start, end in pairwise(places)] + [b""] * empty
    packed = b"".join(map(gzip.compress, members))
    response = send(api, packed, Content_Encoding="gzip")
    assert response.status_code == 200, response.content
    assert Message.objects.get(id=ids.from_text(response.json()["id"])).text == "سلام"


def test_members_larger_than_a_piece_are_one_body(api: APIClient, body: bytes) -> None:
    wide = body[:-1] + b" " * 200_000 + b"}"
    raw = zlib.compressobj(level=0, wbits=16 + zlib.MAX_WBITS)
    stored = raw.compress(wide[:100_000]) + raw.flush()
    assert send(api, stored + gzip.compress(wide[100_000:]), Content_Encoding="gzip").status_code == 200


@pytest.mark.parametrize("rest", [b"x", b"\x00", b"\x00" * 512, b"\x1f\x8b", gzip.compress(b"{}")[:-1], b"{}"])
def test_nothing_that_follows_a_member_is_ignored(api: APIClient, body: bytes, rest: bytes) -> None:
    assert refusal(send(api, gzip.compress(body) + rest, Content_Encoding="gzip")) == MALFORMED_GZIP
    assert not Message.objects.exists()


def test_a_second_member_that_spoils_the_document_is_seen(api: APIClient, body: bytes) -> None:
    packed = gzip.compress(body) + gzip.compress(b'{"another": "document"}')
    assert refusal(send(api, packed, Content_Encoding="gzip")) == MALFORMED_JSON


def damaged(packed: bytes, *, checksum: int = 0, length: int = 0) -> bytes:
    found, size = struct.unpack("<II", packed[-8:])
    return packed[:-8] + struct.pack("<II", found ^ checksum, size ^ length)


@pytest.mark.parametrize("cut", [1, 4, 8, 9, 20])
def test_a_gzip_body_that_is_cut_short_is_refused(api: APIClient, body: bytes, cut: int) -> None:
    assert refusal(send(api, gzip.compress(body)[:-cut], Content_Encoding="gzip")) == MALFORMED_GZIP


def test_a_gzip_body_with_a_wrong_checksum_or_length_is_refused(api: APIClient, body: bytes) -> None:
    packed = gzip.compress(body)
    for spoiled in (damaged(packed, checksum=1), damaged(packed, length=1)):
        assert refusal(send(api, spoiled, Content_Encoding="gzip")) == MALFORMED_GZIP
        assert refusal(send(api, gzip.compress(b"") + spoiled, Content_Encoding="gzip")) == MALFORMED_GZIP


def test_empty_gzip_bodies_are_refused(db: None, api: APIClient) -> None:
    assert refusal(send(api, b"", Content_Encoding="gzip")) == MALFORMED_GZIP
    for packed in (gzip.compress(b""), gzip.compress(b"") * 3):
        response = send(api, packed, Content_Encoding="gzip")
        assert refusal(response) == MALFORMED_JSON
        assert "empty" in response.json()["errors"][0]["reason"]


@pytest.mark.parametrize(
    "packed",
    [
        gzip.compress(b" " * 50_000_000),
        gzip.compress(b" " * 3_000_000) * 5,
        gzip.compress(gzip.compress(b" " * 50_000_000)) * 400,
    ],
    ids=["one member", "in members", "gzip of gzip"],
)
def test_a_body_that_unpacks_beyond_the_limit_is_refused(
    db: None, api: APIClient, settings: Any, packed: bytes
) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10_000_000
    assert refusal(send(api, packed, Content_Encoding="gzip")) == TOO_LARGE


def test_a_body_of_nothing_but_members_is_refused(db: None, api: APIClient) -> None:
    response = send(api, gzip.compress(b"") * 10_001, Content_Encoding="gzip")
    assert refusal(response) == MALFORMED_GZIP
    assert "10000 members" in response.json()["errors"][0]["reason"]


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "x-gzip", " X-Gzip ", "identity, gzip", "gzip,", "Gzip,identity"])
def test_gzip_has_several_spellings(api: APIClient, body: bytes, coding: str) -> None:
    assert send(api, gzip.compress(body), Content_Encoding=coding).status_code == 200


@pytest.mark.parametrize("coding", ["", "identity", "Identity", "identity, identity"])
def test_identity_is_no_coding(api: APIClient, body: bytes, coding: str) -> None:
    assert send(api, body, Content_Encoding=coding).status_code == 200


@pytest.mark.parametrize(
    "coding", ["br", "deflate", "zstd", "compress", "gzip, gzip", "br, gzip", "gzip;q=1", "gzi\u00fe"]
)
def test_other_codings_are_refused_with_those_that_are_known(api: APIClient, body: bytes, coding: str) -> None:
    response = send(api, gzip.compress(gzip.compress(body)), Content_Encoding=coding)
    assert refusal(response) == UNSUPPORTED
    assert response["Accept-Encoding"] == "gzip, identity"


def test_other_media_types_are_refused_with_the_one_that_is_known(api: APIClient, body: bytes) -> None:
    for content_type in ("text/plain", "application/xml", "application/x-www-form-urlencoded", "json"):
        response = send(api, body, content_type)
        assert refusal(response) == UNSUPPORTED
        assert response["Accept"] == "application/json"


def test_a_byte_order_mark_is_passed_over(api: APIClient, body: bytes) -> None:
    for path in ("/v1/sms/send", "/v1/sms/batch", "/v1/sms/estimate"):
        document = json.loads(body)
        if path != "/v1/sms/send":
            document["to"] = [document["to"]]
        marked = BOM + json.dumps(document).encode()
        assert send(api, marked, path=path).status_code == 200
        assert send(api, gzip.compress(marked), path=path, Content_Encoding="gzip").status_code == 200
    assert refusal(send(api, BOM + BOM + body)) == MALFORMED_JSON
    assert refusal(send(api, BOM)) == MALFORMED_JSON


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
def test_json_in_utf_16_and_32_is_refused_with_the_reason(api: APIClient, body: bytes, encoding: str) -> None:
    response = send(api, body.decode().encode(encoding))
    assert refusal(response) == MALFORMED_JSON
    assert "send UTF-8" in response.json()["errors"][0]["reason"]
    assert refusal(send(api, body.decode().encode(encoding), f"application/json; charset={encoding}")) == UNSUPPORTED


@pytest.mark.parametrize("charset", ["utf-8", "UTF-8", '"utf-8"', "utf8", ""])
def test_utf_8_may_be_named(api: APIClient, body: bytes, charset: str) -> None:
    assert send(api, body, f"application/json; charset={charset}").status_code == 200
    assert send(api, body, f"application/json;x=y; Charset = {charset}").status_code == 200


def test_a_charset_like_ascii_is_taken_for_ascii_alone(api: APIClient, body: bytes) -> None:
    content_type = "application/json; charset=ISO-8859-1"
    assert send(api, json.dumps(json.loads(body)).encode(), content_type).status_code == 200
    assert refusal(send(api, body, content_type)) == UNSUPPORTED


@pytest.mark.parametrize("charset", ["utf-7", "hex", "rot13", "punycode", "windows-1256", "nonsense", "utf-16"])
def test_other_charsets_are_refused(api: APIClient, body: bytes, charset: str) -> None:
    assert refusal(send(api, body, f"application/json; charset={charset}")) == UNSUPPORTED


@pytest.mark.parametrize(
    "content_type",
    ["application/json; charset=hex", "application/json; charset=punycode", "x/y; a*=nonsense''b", 'x/y; charset="'],
)
def test_a_charset_has_no_effect_on_query_parameters(db: None, content_type: str) -> None:
    """Through the handler that gunicorn calls, since Django's test client makes requests of its own."""
    handler = WSGIHandler()
    handler.request_class = GatewayRequest
    environ = RequestFactory().get("/v1/sms?reference=%C3%A9&colour=red").environ | {"CONTENT_TYPE": content_type}
    status = []
    answer = b"".join(handler(environ, lambda line, _headers: status.append(line)))
    assert status == ["400 Bad Request"]
    assert {error["field"] for error in json.loads(answer)["errors"]} == {"customer_id", "colour"}


def test_more_parameters_than_are_read_are_a_400(db: None, api: APIClient) -> None:
    response = api.get("/v1/sms?" + "&".join(["a=1"] * 1001))
    assert refusal(response) == (400, "malformed_request", set())


def test_a_body_shorter_than_announced_is_refused(api: APIClient, body: bytes) -> None:
    cut = {"CONTENT_LENGTH": str(len(body) + 1), "wsgi.input": io.BytesIO(body)}
    response = api.generic("POST", "/v1/sms/send", body, content_type="application/json", **cut)
    assert refusal(response) == (400, "malformed_request", set())
    assert not Message.objects.exists()


def test_a_connection_that_breaks_within_the_body_is_no_fault_of_ours(db: None, api: APIClient) -> None:
    class Broken(io.RawIOBase):
        def read(self, *_size: int) -> bytes:
            raise ConnectionResetError

    for more in ({"CONTENT_LENGTH": "7"}, {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}):
        response = api.post("/v1/sms/send", {}, format="json", **(more | {"wsgi.input": Broken()}))
        assert refusal(response) == (400, "malformed_request", set())


@pytest.mark.parametrize("rest", [b"{}", b"x", b",", b"]", b"}", b"\x00"])
def test_what_follows_the_document_is_not_ignored(api: APIClient, body: bytes, rest: bytes) -> None:
    response = send(api, body + rest)
    assert refusal(response) == MALFORMED_JSON
    assert "follows its end" in response.json()["errors"][0]["reason"]


@pytest.mark.parametrize("name", ["to", "text", "customer_id", "from", "metadata", "valid_for"])
def test_a_field_that_is_repeated_is_refused(api: APIClient, body: bytes, name: str) -> None:
    values = {"metadata": {"a": "b"}, "valid_for": 60}
    value = json.dumps(json.loads(body).get(name, values.get(name, "x")))
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in name)
    for first, second in ((name, name), (name, escaped), (escaped, escaped)):
        rest = json.loads(body)
        rest.pop(name, None)
        start = json.dumps(rest)[:-1]
        twice = f'{start}, "{first}": {value}, "{second}": {value}}}'.encode()
        assert refusal(send(api, twice)) == (400, "invalid_request", {(name, "repeated")})
    assert not Message.objects.exists()


def test_a_name_that_is_repeated_within_metadata_is_refused(api: APIClient, body: bytes) -> None:
    twice = body[:-1] + b', "metadata": {"a-b": "1", "a-b": "2"}}'
    assert refusal(send(api, twice)) == (400, "invalid_request", {("a-b", "repeated")})


def test_a_field_that_is_repeated_in_a_batch_is_refused(api: APIClient, body: bytes) -> None:
    customer_id = json.loads(body)["customer_id"]
    bodies = [
        '{"customer_id": "%s", "messages": [{"to": "09121234567", "text": "a"}, {"to": "1", "text": "a", "to": "2"}]}',
        '{"customer_id": "%s", "messages": [{"to": "x", "text": "a"}, {"to": "1", "text": "a", "to": "2"}]}',
        '{"customer_id": "%s", "to": ["09121234567"], "text": "a", "to": ["09121234568"]}',
        '{"customer_id": "%s", "messages": [], "messages": [{"to": "09121234567", "text": "a"}]}',
    ]
    for twice in bodies:
        for path in ("/v1/sms/batch", "/v1/sms/estimate"):
            status, code, found = refusal(send(api, (twice % customer_id).encode(), path=path))
            assert (status, code) == (400, "invalid_request")
            assert {one for _, one in found} == {"repeated"}
    assert not Message.objects.exists()


def test_a_value_may_be_spelt_like_a_field(api: APIClient, body: bytes) -> None:
    same = json.loads(body) | {"text": "to", "from": "text", "reference": "reference", "metadata": {"to": "to"}}
    assert send(api, json.dumps(same).encode()).status_code == 200
    several = {"customer_id": same["customer_id"], "messages": [{"to": "09121234567", "text": "to"}] * 3}
    assert send(api, json.dumps(several).encode(), path="/v1/sms/batch").status_code == 200


def test_a_signed_receipt_may_begin_with_a_mark(db: None, api: APIClient, settings: Any) -> None:
    """Its signature is that of the body as it was sent, mark and all."""
    mci = dataclasses.replace(settings.CONFIG.mci, receipt_secret="secret")
    settings.CONFIG = dataclasses.replace(settings.CONFIG, mci=mci)
    body = BOM + b'{"status": "DELIVRD"}'
    signature = "sha256=" + hmac.new(b"secret", body, hashlib.sha256).hexdigest()
    headers = {"Authorization": "Bearer development-only", "X-Receipt-Signature": signature}
    response = send(api, body, path="/v1/operators/mci/receipts", **headers)
    status, code, found = refusal(response)
    assert (status, code) == (400, "invalid_receipt")
    assert ("", "malformed_json") not in found
