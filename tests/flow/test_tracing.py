"""One trace and one request id from the HTTP answer to the row in ClickHouse, sent to a collector of the test's own."""

from __future__ import annotations

import dataclasses
import gzip
import http.client
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from apps.devservices.gateway import Gateway
from smsgateway import clickhouse, ids
from tests.support.customers import MakeCustomer
from tests.support.running_gateway import call
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.flow, pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]

Span = tuple[str, str, str, str, dict[str, str]]
"""Service, name, span id, parent's id, attributes."""


class Collector(ThreadingHTTPServer):
    """Takes OTLP over HTTP and keeps the spans by trace id."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Traces)
        self.spans: dict[str, list[Span]] = {}


class _Traces(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            (service,) = (
                found.value.string_value for found in resource.resource.attributes if found.key == "service.name"
            )
            for span in (span for scope in resource.scope_spans for span in scope.spans):
                attributes = {found.key: str(found.value.string_value) for found in span.attributes}
                attributes |= {"took": str(span.end_time_unix_nano - span.start_time_unix_nano)}
                kept = self.server.spans.setdefault(span.trace_id.hex(), [])
                kept.append((service, span.name, span.span_id.hex(), span.parent_span_id.hex(), attributes))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Not logged."""


@pytest.fixture(autouse=True)
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with Collector() as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        monkeypatch.setenv("TRACING_ENDPOINT", f"http://127.0.0.1:{server.server_port}/v1/traces")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
        yield server
        server.shutdown()
        serving.join()


def test_one_trace_and_one_request_id_from_the_answer_to_the_row_in_clickhouse(
    collector: Collector, gateway: Gateway, make_customer: MakeCustomer
) -> None:
    client = http.client.HTTPConnection(urlsplit(gateway.api_url).netloc, timeout=60)
    body = {"customer_id": ids.to_text(make_customer(balance=10_000)), "to": "09121230001", "text": "Hello"}
    client.request(
        "POST", "/v1/sms/send", json.dumps(body), {"Content-Type": "application/json", "X-Request-ID": "order-17"}
    )
    answer = client.getresponse()
    assert (answer.status, answer.headers["X-Request-ID"]) == (200, "order-17")
    message_id = json.loads(answer.read())["id"]
    client.close()

    def spans() -> list[Span]:
        return collector.spans.get(ids.from_text(message_id).hex, [])

    ways = {
        ("smsgateway-api", "POST v1/sms/send"),
        ("smsgateway-relay", "relay"),
        ("smsgateway-deliver", "submit"),
        ("smsgateway-settle", "settle"),
        ("smsgateway-ingest", "ingest"),
    }
    wait_for(lambda: ways <= {(service, name) for service, name, *_ in spans()}, "a span of every process")
    wait_for(
        lambda: any(attributes.get("type") == "accepted" for *_, attributes in spans()),
        "the accepted event to be ingested",
    )
    (first,) = (span for span in spans() if span[0] == "smsgateway-api")
    assert first[3] == "", "the trace begins with the request"
    assert {parent for service, _, _, parent, _ in spans() if service != "smsgateway-api"} == {first[2]}
    with_id = {service for service, *_, attributes in spans() if attributes.get("request_id") == "order-17"}
    assert {"smsgateway-api", "smsgateway-deliver", "smsgateway-settle", "smsgateway-ingest"} <= with_id
    # Its receipt is a request of its own, with an id of its own; all else is of ours.
    receipt = {
        attributes["request_id"] for *_, attributes in spans() if attributes.get("request_id", "order-17") != "order-17"
    }
    assert len(receipt) <= 1
    inserted = {
        attributes["type"]: attributes["request_id"]
        for service, *_, attributes in spans()
        if service == "smsgateway-ingest"
    }
    assert inserted["accepted"] == "order-17"
    assert all(int(attributes["took"]) > 0 for *_, attributes in spans())

    code, _ = call("GET", f"{gateway.api_url}/v1/sms/{message_id}")
    assert code == 200
    database = clickhouse.ClickHouse(
        dataclasses.replace(settings.CONFIG.clickhouse, url=gateway._environ["CLICKHOUSE_URL"])
    )
    query = "SELECT count() FROM sms_messages WHERE message_id = %(id)s"
    try:
        wait_for(
            lambda: database.query(query, {"id": str(ids.from_text(message_id))}) == [(1,)], "the row in ClickHouse"
        )
    finally:
        database.close()
