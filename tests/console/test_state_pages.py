"""The start page, operators, stuck messages and dead letters, with the services they read and without them."""

from __future__ import annotations

import dataclasses
import datetime as dt
import http.server
import io
import re
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from apps.console.models import Act
from apps.console.pages import dead_letters, start
from apps.console.state import dead_letters as dead_letters_state
from apps.console.state import lag
from apps.console.state.operators import operators_down
from apps.console.state.poll import Answer, Poller, Unavailable
from apps.console.state.statistics import Late, Traffic
from apps.console.state.workers import Worker
from apps.sms import events
from apps.sms.models import Message, OutboxEntry
from apps.sms.operators.unread_receipts import unread_record
from apps.sms.settlement.service import statuses_settle
from smsgateway import ids
from smsgateway.kafka import client as kafka
from tests.support.callbacks import accept, event
from tests.support.console import Person, shown_messages
from tests.support.customers import MakeCustomer
from tests.support.smpp import SETTINGS as SMPP_SETTINGS
from tests.support.smpp_receipts import deliver_pdu


@pytest.fixture(autouse=True)
def _nothing_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "POLLER", Poller(fresh_seconds=0))
    monkeypatch.setattr(start, "_DEADLINE_SECONDS", 60.0)  # a busy machine must not look like a service that is down


@pytest.fixture
def topics(settings: Any) -> Any:
    """Kafka topics and groups of this test's own."""
    run = uuid.uuid4().hex[:8]
    own = {
        name: f"{run}.{name}"
        for name in ("topic_accepted", "topic_delivery", "topic_status", "topic_receipts", "topic_dead_letter")
    }
    config = dataclasses.replace(settings.CONFIG.kafka, **own, consumer_group_prefix=run)
    settings.CONFIG = dataclasses.replace(settings.CONFIG, kafka=config)
    return config


@pytest.fixture
def everything_is_down(settings: Any) -> None:
    config = settings.CONFIG
    settings.CONFIG = dataclasses.replace(
        config,
        kafka=dataclasses.replace(config.kafka, brokers=["127.0.0.1:9"]),
        clickhouse=dataclasses.replace(config.clickhouse, url="clickhouse://default@127.0.0.1:9/nothing"),
        admin=dataclasses.replace(config.admin, processes=["deliver=http://127.0.0.1:9/metrics"]),
    )


def tiles(response: Any) -> dict[str, dict[str, str]]:
    return {tile["title"]: tile for tile in response.context["tiles"]}


def test_the_page_comes_soon_and_greys_out_tiles_of_services_that_are_down(
    person: Person, everything_is_down: None
) -> None:
    support = person("Support")
    for page in ("/admin/", "/admin/console/operators/", "/admin/console/stuck/"):
        assert support.get(page).status_code == 200
    shown = support.get("/admin/")
    assert {title for title, tile in tiles(shown).items() if tile["error"]} == {
        "Messages today",
        "Delivery rate",
        "Spend today",
        "Stuck messages",
    }
    assert tiles(shown)["Low balances"]["value"] == "0"
    assert [row["name"] for row in shown.context["processes"] if row["error"]] == ["deliver", "settle", "ingest"]


def test_each_tile_leads_to_a_page_that_opens(person: Person, everything_is_down: None) -> None:
    support = person("Support")
    for tile in tiles(support.get("/admin/")).values():
        assert support.get(tile["href"]).status_code == 200, tile


def test_the_numbers_are_those_of_the_statistics(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    hours = [Traffic()] * 24
    hours[0] = Traffic(accepted=100, delivered=80, failed=10, canceled=1, pending=9, cost=10_000, refunded=1000)
    now = dt.datetime.now(tz=dt.UTC)
    answers = {
        "hours": Answer(hours),
        "days": Answer({now.date(): hours[0]}),
        "late": Answer([Late("mci", 7, now)]),
        "lags": Answer({name: lag.Lag(20_000, {}) for name in ("deliver", "settle", "ingest")}),
        "workers": Answer(error="ADMIN_PROCESSES names no process."),
    }
    monkeypatch.setattr(start, "gateway_state", lambda: answers)
    shown = person("Support").get("/admin/")
    values = {title: tile["value"] for title, tile in tiles(shown).items()}
    assert values == {
        "Messages today": "100",
        "Delivery rate": "88.9%",
        "Spend today": "90.00",
        "Low balances": "0",
        "Stuck messages": "7",
    }
    assert "late" in {row["name"]: row["state"] for row in shown.context["processes"]}["settle"]


def test_statistics_come_from_clickhouse(person: Person) -> None:
    """ClickHouse understands the queries, whatever it holds."""
    from apps.console.state import statistics

    call_command("clickhouse_migrate", stdout=io.StringIO())
    assert len(statistics.hours_today()) == 24
    assert len(statistics.days()) == statistics.DAYS
    assert isinstance(statistics.late(), list)


def test_a_service_that_hangs_is_polled_once_and_holds_no_page() -> None:
    poller = Poller(fresh_seconds=60)
    gate, calls = threading.Event(), []

    def hang() -> str:
        calls.append(1)
        gate.wait()
        return "at last"

    first, second = (poller.poll({"slow": hang}, seconds=0.01) for _ in range(2))
    assert first["slow"].error
    assert second["slow"].error
    gate.set()
    while poller.poll({"slow": hang}, seconds=1)["slow"].value != "at last":
        pass
    assert len(calls) == 1


def test_an_answer_is_cached_for_a_while_and_so_is_an_error() -> None:
    poller = Poller(fresh_seconds=60)
    count = []

    def fail() -> None:
        count.append(1)
        raise Unavailable("ClickHouse: gone")

    assert [poller.poll({"x": fail}, seconds=5)["x"].error for _ in range(3)] == ["ClickHouse: gone"] * 3
    assert len(count) == 1
    assert poller.poll({"y": lambda: 1 / 0}, seconds=5)["y"].error


def test_lag_counts_the_events_that_a_group_has_not_handled(topics: Any) -> None:
    producer = kafka.producer(topics, client_id="test")
    kafka.publish_and_wait(producer, [kafka.Record(topics.topic_status, b"a", b"1", [], 0) for _ in range(10)])
    consumer = kafka.consumer(topics, process="settle")
    try:
        from confluent_kafka import TopicPartition

        consumer.commit(offsets=[TopicPartition(topics.topic_status, 0, 4)], asynchronous=False)
    finally:
        consumer.close()
    found = lag.lags()
    assert {name: found[name].events for name in ("settle", "ingest", "deliver")} == {
        "settle": 6,
        "ingest": 10,
        "deliver": 0,
    }


@pytest.fixture
def worker_page() -> Iterator[tuple[str, Gauge]]:
    """A metrics page of a delivery worker."""
    registry = CollectorRegistry()
    circuit = Gauge("delivery_circuit_open", "x", ["operator"], registry=registry)
    submits = Gauge("delivery_submits_total", "x", ["operator", "outcome"], registry=registry)
    submits.labels("mci", "accepted").set(41)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(generate_latest(registry))

        def log_message(self, *_arguments: Any) -> None:
            """Log nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"deliver=http://127.0.0.1:{server.server_port}/metrics", circuit
        server.shutdown()
        thread.join()


def test_operators_show_what_the_workers_report(person: Person, settings: Any, worker_page: tuple[str, Gauge]) -> None:
    page, circuit = worker_page
    circuit.labels("mci").set(1)
    admin = dataclasses.replace(settings.CONFIG.admin, processes=[page, "relay=http://127.0.0.1:9/metrics"])
    settings.CONFIG = dataclasses.replace(settings.CONFIG, admin=admin)
    shown = person("Support").get("/admin/console/operators/")
    rows = {row[0]: row for row in shown.context["operators"]["rows"]}
    assert "open" in rows["mci"][3]
    assert rows["mci"][4] == "41 accepted"
    assert "closed" in rows["irancell"][3]
    processes = {row["name"]: row for row in shown.context["processes"]}
    assert processes["deliver"]["up"] == "1 of 1 answer"
    assert processes["relay"]["up"] == "0 of 1 answer"
    assert "down" in processes["relay"]["state"]


def test_the_stuck_page_shows_the_outbox(person: Person, make_customer: MakeCustomer, everything_is_down: None) -> None:
    (message_id,) = accept(make_customer(name="Bazaar"))
    assert OutboxEntry.objects.exists()
    (row,) = person("Support").get("/admin/console/stuck/").context["outbox"]["rows"]
    assert ids.to_text(message_id) in row[1]
    assert "Bazaar" in row[2]


def test_a_dead_letter_is_shown_and_replayed_once(person: Person, topics: Any) -> None:
    headers = [("reason", b"no schema"), ("source_topic", topics.topic_status.encode())]
    headers += [("source_partition", b"0"), ("source_offset", b"7")]
    producer = kafka.producer(topics, client_id="test")
    kafka.publish_and_wait(producer, [kafka.Record(topics.topic_dead_letter, b"key", b"{broken", headers, 0)])
    support = person("Support")
    (row,) = support.get("/admin/console/dead-letters/").context["table"]["rows"]
    assert row[3] == "no schema"
    page = "/admin/console/dead-letters/0:0/"
    shown = support.get(page).content.decode()
    assert "{broken" in shown
    assert "Replay to" in shown
    assert "Replay to" not in person("Finance").get(page).content.decode()
    assert "Replayed to" in shown_messages(support.post(f"{page}replay/"))
    assert "replayed before" in shown_messages(support.post(f"{page}replay/"))
    assert lag.lags()["settle"].events == 1
    assert [act.act for act in Act.objects.all()] == ["letter.replay"]
    assert support.get("/admin/console/dead-letters/0:9/").status_code == 404


def test_an_unreadable_receipt_is_shown_with_the_setting_that_would_read_it(
    person: Person, settings: Any, topics: Any
) -> None:
    raw = deliver_pdu("id:77 stat:WHO err:000", id=b"77\0")
    unread = events.ReceiptUnread(
        operator="shatel", protocol="smpp", octets=raw, reason="its status 'WHO' is not known", at=1_800_000_000_000
    )
    kafka.publish_and_wait(kafka.producer(topics, client_id="test"), [unread_record(unread, config=topics)])
    support = person("Support")
    (row,) = support.get("/admin/console/dead-letters/").context["table"]["rows"]
    assert row[3] == "unreadable receipt of shatel: its status 'WHO' is not known."
    (place,) = re.findall(r">([0-9]+:[0-9]+)<", row[1])
    page = f"/admin/console/dead-letters/{place}/"
    assert raw.hex() in support.get(page).content.decode()  # the operator is gone
    settings.CONFIG = dataclasses.replace(settings.CONFIG, smpp_operators={"shatel": SMPP_SETTINGS})
    shown = support.get(page).content.decode()
    assert "id:77 stat:WHO err:000" in shown
    assert "OPERATOR_SHATEL_RECEIPT_STATUSES=WHO=…" in shown
    reads_it = dataclasses.replace(SMPP_SETTINGS, receipt_statuses=["WHO=delivered"])
    settings.CONFIG = dataclasses.replace(settings.CONFIG, smpp_operators={"shatel": reads_it})
    assert "yes: replay it" in support.get(page).content.decode()


def attention(person: Person) -> list[str]:
    shown = person("Support").get("/admin/")
    for row in shown.context["attention"]:
        assert row["text"] in shown.content.decode()
        assert person("Support").get(row["href"]).status_code == 200
    return [row["text"] for row in shown.context["attention"]]


def test_today_says_which_operator_takes_no_messages(
    person: Person, settings: Any, topics: Any, worker_page: tuple[str, Gauge]
) -> None:
    page, circuit = worker_page
    admin = dataclasses.replace(settings.CONFIG.admin, processes=[page])
    settings.CONFIG = dataclasses.replace(settings.CONFIG, admin=admin)
    circuit.labels("mci").set(0)
    circuit.labels("irancell").set(0)
    assert attention(person) == []
    circuit.labels("mci").set(1)
    assert attention(person) == ["mci takes no messages: its circuit breaker is open."]
    rows = {row["name"]: row for row in person("Support").get("/admin/").context["processes"]}
    assert "open" in rows["deliver"]["state"]
    assert "not sending to mci" in rows["deliver"]["text"]
    assert "ok" in rows["settle"]["state"]
    circuit.labels("mci").set(0)
    assert attention(person) == []


def test_the_page_of_a_message_that_waits_says_that_its_operator_takes_none(
    person: Person, settings: Any, make_customer: MakeCustomer, worker_page: tuple[str, Gauge]
) -> None:
    page, circuit = worker_page
    admin = dataclasses.replace(settings.CONFIG.admin, processes=[page])
    settings.CONFIG = dataclasses.replace(settings.CONFIG, admin=admin)
    customer = make_customer()
    (message_id,) = accept(customer)
    operator = Message.objects.get().operator
    address = f"/admin/console/messages/{ids.to_text(message_id)}/"
    circuit.labels(operator).set(0)
    assert person("Support").get(address).context["problem"] == ""
    circuit.labels(operator).set(1)
    problem = f"{operator} takes no messages: its circuit breaker is open."
    assert problem in person("Support").get(address).content.decode()
    statuses_settle(batch=[event(message_id, customer, "submitted")])
    assert problem not in person("Support").get(address).content.decode()


def test_today_says_that_dead_letters_wait(person: Person, topics: Any) -> None:
    producer = kafka.producer(topics, client_id="test")
    headers = [("reason", b"no schema"), ("source_topic", topics.topic_status.encode())]
    letter = kafka.Record(topics.topic_dead_letter, b"key", b"{broken", headers, 0)
    kafka.publish_and_wait(producer, [letter])
    assert attention(person) == ["1 dead letter needs attention."]
    kafka.publish_and_wait(producer, [letter])
    assert attention(person) == ["2 dead letters need attention."]
    for number in (0, 1):
        person("Support").post(f"/admin/console/dead-letters/0:{number}/replay/")
    assert attention(person) == []


def test_today_says_when_it_could_not_check(
    person: Person, everything_is_down: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letters_state, "_SECONDS", 0.2)
    monkeypatch.setattr(dead_letters, "_SECONDS", 0.2)
    (text,) = attention(person)
    assert text.startswith("Could not check for dead letters. Kafka: ")


def test_an_smpp_connection_that_is_not_bound_takes_no_messages() -> None:
    def worker(name: str, bound: float, error: str = "") -> Worker:
        samples = {"smpp_bound": {frozenset({("operator", "rightel")}): bound}}
        return Worker(name, "127.0.0.1:1", samples, error)

    assert operators_down([worker("deliver", 0.0), worker("deliver", 1.0)]) == {"rightel": "unbound"}
    assert operators_down([worker("deliver", 1.0)]) == {}
    assert operators_down([worker("settle", 0.0), worker("deliver", 0.0, error="no answer")]) == {}


def test_dead_letters_without_kafka_say_so(
    person: Person, everything_is_down: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letters, "_SECONDS", 0.2)
    shown = person("Support").get("/admin/console/dead-letters/")
    assert shown.status_code == 200
    assert b"Kafka does not answer" in shown.content
