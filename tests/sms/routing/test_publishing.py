"""Routes go from PostgreSQL over Kafka to the workers."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest
from confluent_kafka import Producer
from django.conf import settings
from django.db import OperationalError, connection, transaction
from django.test import Client
from prometheus_client import REGISTRY

from apps.sms import events
from apps.sms.models import Message, Route, RouteTarget
from apps.sms.outbox import relay
from apps.sms.routing import database as routing
from apps.sms.routing import publisher as routes_publishing
from apps.sms.routing.follower import RoutesReader
from apps.sms.routing.publisher import RoutesPublisher
from apps.sms.tables import publisher as table_publisher
from smsgateway import ids
from smsgateway.config import Config
from smsgateway.kafka import client as kafka
from smsgateway.process import Process
from tests.support.console import route_form
from tests.support.customers import MakeCustomer
from tests.support.delivery import WAIT_SECONDS, requested, wait_until

CONNECTIONS = ("mci", "irancell")


@pytest.fixture
def config() -> Config:
    """A topic of the test's own."""
    suffix = ids.to_text(ids.new_id())
    own = dataclasses.replace(settings.CONFIG.kafka, topic_routes=f"routes-{suffix}", consumer_group_prefix=suffix)
    return dataclasses.replace(settings.CONFIG, kafka=own)


@pytest.fixture
def producer(config: Config) -> Producer:
    return kafka.producer(config.kafka, client_id="test")


def route(to: str = "irancell", **conditions: Any) -> Route:
    made = Route.objects.create(**conditions)
    RouteTarget.objects.create(route=made, operator=to)
    return made


def publisher_of(producer: Producer, config: Config) -> RoutesPublisher:
    """One for which a minute passes at each look, so that it looks at each tick."""
    minutes = itertools.count(step=60.0)
    return RoutesPublisher(producer, config=config, clock=lambda: next(minutes))


def publish(producer: Producer, config: Config) -> None:
    """What a relay does at its start: everything is confirmed afterwards."""
    publisher_of(producer, config).tick()
    assert producer.flush(WAIT_SECONDS) == 0


def write(producer: Producer, config: Config, value: events.RoutesPublished | bytes, partition: int = 0) -> None:
    encoded = value if isinstance(value, bytes) else events.encode(value)
    producer.produce(config.kafka.topic_routes, encoded, routes_publishing.KEY, partition)
    assert producer.flush(WAIT_SECONDS) == 0


def published(version: int, to: str) -> events.RoutesPublished:
    made = events.Route(id=1, rank=1, targets=(events.RouteTarget(operator=to),))
    return events.RoutesPublished(version=version, routes=(made,))


@contextmanager
def reading(config: Config, *, wait_seconds: float = WAIT_SECONDS) -> Iterator[RoutesReader]:
    reader = RoutesReader(config, carrier=routing.carrier, connections=CONNECTIONS, wait_seconds=wait_seconds)
    asyncio.run(reader.start())
    try:
        yield reader
    finally:
        asyncio.run(reader.close())


def first(reader: RoutesReader, to: str = "+989121234567") -> str:
    return reader.table.choose(requested(to=to))[0]


def test_the_event_holds_the_enabled_routes_with_all_they_have(make_customer: MakeCustomer) -> None:
    customer_id = make_customer()
    made = Route.objects.create(
        rank=7, prefixes=["98912", "44"], customer_id=customer_id, sender="Shop", carrier="mci", note="try"
    )
    RouteTarget.objects.create(route=made, operator="mci", preference=2)
    RouteTarget.objects.create(route=made, operator="irancell", weight=9)
    Route.objects.create()  # leads nowhere
    route(enabled=False)
    assert routing.routes_read() == events.RoutesPublished(
        version=routing.version_read(),
        routes=(
            events.Route(
                id=made.pk,
                rank=7,
                prefixes=("98912", "44"),
                customer_id=ids.to_text(customer_id),
                sender="Shop",
                carrier="mci",
                targets=(
                    events.RouteTarget(operator="irancell", weight=9),
                    events.RouteTarget(operator="mci", preference=2),
                ),
            ),
        ),
    )


CHANGES: dict[str, Callable[[Route], Any]] = {
    "a route is added": lambda _: Route.objects.create(),
    "a route is changed": lambda made: Route.objects.filter(pk=made.pk).update(rank=1),
    "a target is changed": lambda made: made.targets.update(weight=2),
    "a target goes": lambda made: made.targets.all().delete(),
    "its customer goes": lambda made: made.customer and made.customer.delete(),
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_version_grows_when(make_customer: MakeCustomer, name: str) -> None:
    customer_id = make_customer(balance=0)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM balance_account WHERE customer_id = %s", [customer_id])
    made = route(customer_id=customer_id)
    before = routing.version_read()
    CHANGES[name](made)
    assert routing.version_read() > before


def test_the_version_does_not_go_back_with_the_clock(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE sms_routingversion SET version = version + 1000000000")
    before = routing.version_read()
    Route.objects.create()
    assert routing.version_read() == before + 1


def test_a_change_reaches_a_running_reader_without_a_restart(db: None, config: Config, producer: Producer) -> None:
    publisher = publisher_of(producer, config)
    publisher.tick()
    assert producer.flush(WAIT_SECONDS) == 0
    with reading(config) as reader:
        assert (first(reader), len(reader.table)) == ("mci", 0)
        built_in = reader.table.version
        assert built_in == routing.version_read()
        made = route(prefixes=["98912"])
        publisher.tick()
        producer.flush(WAIT_SECONDS)
        wait_until(lambda: reader.table.version > built_in)
        assert first(reader) == "irancell"
        assert REGISTRY.get_sample_value("routes_version") == reader.table.version
        assert REGISTRY.get_sample_value("routes_in_use") == 1
        made.delete()
        publisher.tick()
        producer.flush(WAIT_SECONDS)
        wait_until(lambda: len(reader.table) == 0)
        assert first(reader) == "mci"


def test_a_route_edited_in_the_admin_reaches_a_reader(staff: Client, config: Config, producer: Producer) -> None:
    publisher = publisher_of(producer, config)
    with reading(config, wait_seconds=0.1) as reader:
        assert first(reader) == "mci"
        assert staff.post("/admin/sms/route/add/", route_form(("irancell", 1, 1), prefixes="98912")).status_code == 302
        made = Route.objects.get()
        publisher.tick()
        producer.flush(WAIT_SECONDS)
        wait_until(lambda: first(reader) == "irancell")
        form = route_form(("mci", 1, 1), existing=made, prefixes="98912")
        assert staff.post(f"/admin/sms/route/{made.pk}/change/", form).status_code == 302
        publisher.tick()
        producer.flush(WAIT_SECONDS)
        wait_until(lambda: first(reader) == "mci")
        assert len(reader.table) == 1


def test_a_new_reader_needs_kafka_alone(db: None, config: Config, producer: Producer) -> None:
    route(prefixes=["98912"])
    publish(producer, config)

    def no_query(*_arguments: Any) -> None:
        raise OperationalError("PostgreSQL is away")

    with connection.execute_wrapper(no_query), reading(config) as reader:
        # `start` waited for the table.
        assert first(reader) == "irancell"


def test_the_newest_version_of_all_partitions_is_in_force(config: Config, producer: Producer) -> None:
    for partition, version in ((2, 20), (0, 30), (1, 10), (0, 5)):
        write(producer, config, published(version, "irancell" if version == 30 else "mci"), partition)
    with reading(config) as reader:
        assert (reader.table.version, first(reader)) == (30, "irancell")
        write(producer, config, published(29, "mci"), 3)
        write(producer, config, published(31, "mci"), 2)
        wait_until(lambda: reader.table.version == 31)


def test_what_cannot_be_read_changes_nothing(config: Config, producer: Producer) -> None:
    write(producer, config, published(1, "irancell"))
    write(producer, config, b"{")
    write(producer, config, b'{"type": "routes", "version": "9"}')
    with reading(config) as reader:
        assert (reader.table.version, first(reader)) == (1, "irancell")
        write(producer, config, published(2, "mci"))
        wait_until(lambda: reader.table.version == 2)


def test_without_kafka_the_built_in_table_serves(config: Config) -> None:
    away = dataclasses.replace(config, kafka=dataclasses.replace(config.kafka, brokers=["127.0.0.1:1"]))
    with reading(away, wait_seconds=0.1) as reader:
        assert (first(reader), first(reader, "+989351234567"), reader.table.version) == ("mci", "irancell", 0)


def test_a_reader_that_started_before_the_first_table_gets_it(db: None, config: Config, producer: Producer) -> None:
    with reading(config, wait_seconds=0.1) as reader:
        assert reader.table.version == 0
        route(prefixes=["98912"])
        publish(producer, config)
        wait_until(lambda: first(reader) == "irancell")


def test_an_unchanged_table_is_not_published_at_each_look(db: None, config: Config, producer: Producer) -> None:
    publisher = publisher_of(producer, config)
    count = REGISTRY.get_sample_value("tables_published_total", {"table": "routes"}) or 0
    for _ in range(3):
        publisher.tick()
        producer.flush(WAIT_SECONDS)
    assert REGISTRY.get_sample_value("tables_published_total", {"table": "routes"}) == count + 1
    for _ in range(3):  # five minutes later it is: a topic that was lost gets its table again
        publisher.tick()
        producer.flush(WAIT_SECONDS)
    assert REGISTRY.get_sample_value("tables_published_total", {"table": "routes"}) == count + 2


def test_a_table_that_kafka_did_not_take_is_published_again(db: None, config: Config, producer: Producer) -> None:
    route(prefixes=["98912"])
    away = dataclasses.replace(config.kafka, brokers=["127.0.0.1:1"], producer_timeout=1000)
    lost = kafka.producer(away, client_id="test")
    publisher = publisher_of(lost, config)
    publisher.tick()
    lost.flush(WAIT_SECONDS)
    assert publisher._sent is None
    publisher._producer = producer
    publisher.tick()
    producer.flush(WAIT_SECONDS)
    with reading(config) as reader:
        assert first(reader) == "irancell"


def many_routes(count: int) -> None:
    """Routes of 150 bytes and more each, all for one prefix but the last."""
    made = Route.objects.bulk_create(Route(prefixes=["98935"], rank=500, sender="Shop") for _ in range(count))
    RouteTarget.objects.bulk_create(RouteTarget(route=one, operator="mci") for one in made)


def test_a_table_of_more_than_a_megabyte_is_published_whole(db: None, config: Config, producer: Producer) -> None:
    many_routes(9000)
    route(prefixes=["98912"])
    table = routing.routes_read()
    assert len(events.encode(table)) > 1_000_000
    publish(producer, config)
    with reading(config) as reader:
        assert (len(reader.table), first(reader)) == (9001, "irancell")
        # Then it fits one event again, and the parts of before count for nothing.
        Route.objects.all().delete()
        publish(producer, config)
        wait_until(lambda: len(reader.table) == 0)
    with reading(config) as reader:
        assert len(reader.table) == 0


def test_a_table_whose_parts_are_not_all_there_is_not_in_force(
    db: None, config: Config, producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_publisher, "PART_BYTES", 500)
    many_routes(10)
    write(producer, config, published(7, "irancell"))
    newest = routing.routes_read()
    parts = [value for _, value in routes_publishing.records_of(newest)]
    assert len(parts) > 2
    with reading(config) as reader:
        for value in parts[:0:-1]:
            write(producer, config, value)
        write(producer, config, published(8, "irancell"))  # it was read: so was all before it
        wait_until(lambda: reader.table.version == 8)
        write(producer, config, parts[0])
        wait_until(lambda: reader.table.version == newest.version)
        assert len(reader.table) == 10


def test_an_event_of_one_part_is_as_earlier_versions_read_it(db: None) -> None:
    route(prefixes=["98912"])
    [(key, value)] = routes_publishing.records_of(routing.routes_read())
    assert (key, events.decode_routes(value)) == (routes_publishing.KEY, routing.routes_read())


def test_a_table_that_is_too_large_is_counted_and_the_last_stays(
    db: None, config: Config, producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = publisher_of(producer, config)
    publisher.tick()
    producer.flush(WAIT_SECONDS)
    publisher.tick()
    waits = {"table": "routes"}
    assert REGISTRY.get_sample_value("tables_unpublished_seconds", waits) == 0
    monkeypatch.setattr(table_publisher, "PART_BYTES", 500)
    monkeypatch.setattr(table_publisher, "MOST_PARTS", 2)
    many_routes(20)
    before = REGISTRY.get_sample_value("tables_errors_total", waits | {"reason": "size"}) or 0
    for _ in range(2):
        publisher.tick()
    assert REGISTRY.get_sample_value("tables_errors_total", waits | {"reason": "size"}) == before + 2
    assert (REGISTRY.get_sample_value("tables_unpublished_seconds", waits) or 0) > 0
    Route.objects.all().delete()
    publisher.tick()
    producer.flush(WAIT_SECONDS)
    publisher.tick()
    assert REGISTRY.get_sample_value("tables_unpublished_seconds", waits) == 0


def test_the_editor_refuses_what_cannot_be_published(staff: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_publisher, "PART_BYTES", 1000)
    monkeypatch.setattr(table_publisher, "MOST_PARTS", 2)
    wide = route_form(("irancell", 1, 1), prefixes="98800-98999")
    answer = staff.post("/admin/sms/route/add/", wide)
    assert answer.status_code == 200
    assert "more than workers can be given" in answer.content.decode()
    assert not Route.objects.exists()
    narrow = route_form(("irancell", 1, 1), prefixes="9891")
    assert staff.post("/admin/sms/route/add/", narrow).status_code == 302
    made = Route.objects.get()
    many_routes(12)
    answer = staff.post("/admin/sms/route/add/", narrow)
    assert "more than workers can be given" in answer.content.decode()
    # What makes it smaller is taken, and what is not published counts for nothing.
    off = {name: value for name, value in narrow.items() if name != "enabled"}
    assert staff.post("/admin/sms/route/add/", off).status_code == 302
    Route.objects.exclude(pk=made.pk).delete()
    form = route_form(("mci", 1, 1), existing=made, prefixes="989")
    assert staff.post(f"/admin/sms/route/{made.pk}/change/", form).status_code == 302


def test_a_restored_table_comes_into_force_when_the_relay_starts(db: None, config: Config, producer: Producer) -> None:
    write(producer, config, published(routing.version_read(), "irancell"))
    with reading(config) as reader:
        assert first(reader) == "irancell"
        publish(producer, config)  # PostgreSQL has no routes, at the same version
        wait_until(lambda: len(reader.table) == 0)


def test_routes_that_cannot_be_read_do_not_hold_up_the_outbox(
    make_customer: MakeCustomer, config: Config, producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, rounds = Process("relay"), itertools.count()

    def read() -> int:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT no_such_column FROM sms_routingversion")
        raise AssertionError

    def relay_round(**_options: Any) -> int:
        if next(rounds) == 3:
            process.stop()
        return 0

    monkeypatch.setattr(routing, "version_read", read)
    monkeypatch.setattr(connection, "close", lambda: None)  # the test's own transaction is in it
    monkeypatch.setattr(relay, "relay_round", relay_round)
    errors = REGISTRY.get_sample_value("tables_errors_total", {"table": "routes", "reason": "database"}) or 0
    relay.run(process, producer=producer, config=config)
    assert next(rounds) == 4
    assert REGISTRY.get_sample_value("tables_errors_total", {"table": "routes", "reason": "database"}) == errors + 1


def test_the_relay_publishes_the_table(make_customer: MakeCustomer, config: Config, producer: Producer) -> None:
    route(prefixes=["98912"])
    process = Process("relay")
    with reading(config, wait_seconds=0.1) as reader:

        def stop_when_read(**_options: Any) -> int:
            if reader.table.version:
                process.stop()
            return 0

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(relay, "relay_round", stop_when_read)
            relay.run(process, producer=producer, config=config)
        assert first(reader) == "irancell"


def test_the_first_choice_at_accept_is_the_workers(make_customer: MakeCustomer, post: Callable[..., Any]) -> None:
    mine, other = make_customer(), make_customer()
    made = Route.objects.create(customer_id=mine, sender="Shop")
    for name in CONNECTIONS:
        RouteTarget.objects.create(route=made, operator=name)
    table = routing._TABLES.get(settings.CONFIG.routing.default, max_age=0)

    def operators(customer_id: UUID) -> list[str]:
        body = {"customer_id": ids.to_text(customer_id), "from": "Shop", "text": "x", "to": ["09351234567"] * 40}
        answered = post("/v1/sms/batch", body).json()["results"]
        stored = Message.objects.filter(customer_id=customer_id).values_list("id", "operator")
        found = {ids.to_text(id_): operator for id_, operator in stored}
        told = []
        for item in answered:
            message = requested(
                message_id=item["id"], customer_id=ids.to_text(customer_id), sender="Shop", to="+989351234567"
            )
            assert table.choose(message)[0] == found[item["id"]]
            told.append(found[item["id"]])
        return told

    assert set(operators(mine)) == set(CONNECTIONS)
    assert set(operators(other)) == {"irancell"}


def test_an_estimate_tells_the_route(make_customer: MakeCustomer, post: Callable[..., Any]) -> None:
    customer_id = make_customer()
    body = {"customer_id": ids.to_text(customer_id), "messages": [{"to": "09121234567", "text": "x"}]}
    assert post("/v1/sms/estimate", body).json()["results"][0]["operator"] == "mci"
    route(prefixes=["98912"])
    assert post("/v1/sms/estimate", body).json()["results"][0]["operator"] == "irancell"
