"""`up`, `status` and `down` of the development services."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import unittest.mock
import uuid
from pathlib import Path

import environ
import psutil
import psycopg
import pytest
from clickhouse_driver import Client
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
)
from django.conf import settings
from django.core.management import CommandError, call_command

from apps.devservices import kafka_apache, postgres, stack
from apps.devservices.processes import PROJECT_ROOT, Daemon, ServiceError, has_ended, wait_until
from smsgateway.kafka import topics

ONLY_KAFKA = {"DATABASE_URL": "postgres://elsewhere/x", "CLICKHOUSE_URL": "clickhouse://elsewhere/x"}
ONLY_POSTGRES = {"KAFKA_BROKERS": "elsewhere:9092", "CLICKHOUSE_URL": "clickhouse://elsewhere/x"}


def pid_of(directory: Path, name: str) -> int:
    return int((directory / f"{name}.pid").read_text())


def connect(database_url: str) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(database_url, autocommit=True)


def produce(brokers: str, topic: str, value: bytes) -> None:
    producer = Producer({"bootstrap.servers": brokers, "acks": "all"})
    producer.produce(topic, value)
    assert producer.flush(30) == 0


def consume(brokers: str, topic: str) -> bytes | None:
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": uuid.uuid4().hex, "auto.offset.reset": "earliest"})
    try:
        consumer.subscribe([topic])
        message = consumer.poll(30)
        return None if message is None or message.error() else message.value()
    finally:
        consumer.close()


def test_a_round_trip_keeps_the_data_of_postgres_and_clickhouse(directory: Path) -> None:
    addresses = stack.up(directory, environ={}, bound_to_pid=os.getpid())
    assert stack.read_env(directory) == addresses
    assert {service.name: service.state for service in stack.status(directory, environ={})} == {
        "postgres": "running",
        "kafka": "running",
        "clickhouse": "running",
    }
    with connect(addresses["DATABASE_URL"]) as connection:
        connection.execute("CREATE TABLE kept (text text)")
        connection.execute("INSERT INTO kept VALUES ('سلام')")
    with Client.from_url(addresses["CLICKHOUSE_URL"]) as client:
        client.execute("CREATE TABLE kept (n UInt8) ENGINE = MergeTree ORDER BY n")
        client.execute("INSERT INTO kept VALUES", [(7,)])
    produce(addresses["KAFKA_BROKERS"], "first", b"hello")
    assert consume(addresses["KAFKA_BROKERS"], "first") == b"hello"
    metadata = AdminClient({"bootstrap.servers": addresses["KAFKA_BROKERS"]}).list_topics(timeout=10)
    assert len(metadata.topics["first"].partitions) == 4

    processes = [psutil.Process(pid_of(directory, name)) for name in ("postgres", "kafka-embedded", "clickhouse")]
    stack.down(directory)
    assert all(has_ended(process) for process in processes)
    assert not (directory / "env").exists()
    assert {service.state for service in stack.status(directory, environ={})} == {"stopped"}

    addresses = stack.up(directory, environ={}, bound_to_pid=os.getpid())
    with connect(addresses["DATABASE_URL"]) as connection:
        assert connection.execute("SELECT text FROM kept").fetchall() == [("سلام",)]
    with Client.from_url(addresses["CLICKHOUSE_URL"]) as client:
        assert client.execute("SELECT n FROM kept") == [(7,)]


def test_up_keeps_what_runs_and_restarts_what_died(directory: Path) -> None:
    given = {"CLICKHOUSE_URL": "clickhouse://elsewhere/x"}
    stack.up(directory, environ=given, bound_to_pid=os.getpid())
    postgres_pid, kafka_pid = pid_of(directory, "postgres"), pid_of(directory, "kafka-embedded")
    killed = psutil.Process(kafka_pid)
    killed.kill()
    assert wait_until(lambda: has_ended(killed), timeout=10)

    addresses = stack.up(directory, environ=given)

    assert pid_of(directory, "postgres") == postgres_pid
    assert pid_of(directory, "kafka-embedded") != kafka_pid
    produce(addresses["KAFKA_BROKERS"], "topic", b"x")


def test_a_pid_that_belongs_to_a_stranger_is_neither_kept_nor_killed(directory: Path) -> None:
    directory.mkdir()
    with subprocess.Popen(["sleep", "600"]) as stranger:
        try:
            (directory / "kafka-embedded.pid").write_text(f"{stranger.pid}\n")
            stack.up(directory, environ=ONLY_KAFKA, bound_to_pid=os.getpid())
            assert pid_of(directory, "kafka-embedded") != stranger.pid
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_postgres_is_durable_and_speaks_only_through_its_socket(directory: Path) -> None:
    url = stack.up(directory, environ=ONLY_POSTGRES, bound_to_pid=os.getpid())["DATABASE_URL"]
    with connect(url) as connection:
        names = ("fsync", "synchronous_commit", "full_page_writes", "listen_addresses", "max_connections")
        assert [connection.execute(f"SHOW {name}").fetchone() for name in names] == [  # our own names
            ("on",), ("on",), ("on",), ("",), ("200",),
        ]  # fmt: skip
        encoding = "SELECT pg_encoding_to_char(encoding), datlocale FROM pg_database WHERE datname = 'smsgateway'"
        assert connection.execute(encoding).fetchone() == ("UTF8", "C.UTF-8")
    parsed = environ.Env.db_url_config(url)
    assert (parsed["NAME"], parsed["USER"]) == ("smsgateway", "postgres")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a folder that others cannot enter")
def test_postgres_runs_for_root_below_a_folder_that_only_root_may_enter(directory: Path) -> None:
    directory.mkdir(mode=0o700)
    url = stack.up(directory, environ=ONLY_POSTGRES, bound_to_pid=os.getpid())["DATABASE_URL"]
    with connect(url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert psutil.Process(pid_of(directory, "postgres")).uids().real != 0


def test_given_addresses_are_not_started(directory: Path) -> None:
    given = {**ONLY_KAFKA, "KAFKA_BROKERS": "elsewhere:9092"}
    assert stack.up(directory, environ=given) == {}
    assert [(service.state, service.address) for service in stack.status(directory, environ=given)] == [
        ("given", "postgres://elsewhere/x"),
        ("given", "elsewhere:9092"),
        ("given", "clickhouse://elsewhere/x"),
    ]


def test_an_address_that_repeats_the_env_file_counts_as_our_own(directory: Path) -> None:
    addresses = stack.up(directory, environ=ONLY_KAFKA, bound_to_pid=os.getpid())
    assert stack.up(directory, environ={**ONLY_KAFKA, **addresses}) == addresses
    kafka = stack.status(directory, environ={**ONLY_KAFKA, **addresses})[1]
    assert kafka.state == "running"


def test_services_end_with_the_process_they_are_bound_to(directory: Path) -> None:
    with subprocess.Popen(["sleep", "600"]) as bound:
        try:
            stack.up(directory, environ=ONLY_KAFKA, bound_to_pid=bound.pid)
            kafka = psutil.Process(pid_of(directory, "kafka-embedded"))
            assert kafka.is_running()
        finally:
            bound.kill()
    assert wait_until(lambda: has_ended(kafka), timeout=30)
    assert wait_until(lambda: not (directory / "env").exists(), timeout=30)


def test_services_survive_the_process_that_started_them(directory: Path) -> None:
    program = f"""if True:
        from pathlib import Path
        from apps.devservices import stack
        stack.up(Path({str(directory)!r}), environ={ONLY_KAFKA!r}, bound_to_pid={os.getpid()})
    """
    subprocess.run([sys.executable, "-c", program], cwd=PROJECT_ROOT, check=True)
    assert stack.status(directory, environ=ONLY_KAFKA)[1].state == "running"
    kafka = psutil.Process(pid_of(directory, "kafka-embedded"))
    assert os.getsid(kafka.pid) != os.getsid(0)


def test_a_failed_start_says_why_and_stops_only_what_it_started(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.up(directory, environ=ONLY_KAFKA, bound_to_pid=os.getpid())
    kafka = psutil.Process(pid_of(directory, "kafka-embedded"))
    monkeypatch.setitem(postgres.SERVER_SETTINGS, "max_connections", "no number")
    with pytest.raises(ServiceError, match=r"^postgres ended while starting: .*max_connections.*postgres\.log"):
        stack.up(directory, environ={"CLICKHOUSE_URL": "clickhouse://elsewhere/x"})
    assert kafka.is_running()
    assert not (directory / "postgres.pid").exists()


def test_the_command_prints_one_line_for_each_service(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in ONLY_KAFKA.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("KAFKA_BROKERS", raising=False)  # that of other tests
    call_command("devservices", "up", "--dir", str(directory))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["postgres", "given"],
        ["kafka", "running"],
        ["clickhouse", "given"],
    ]
    assert "librdkafka" in lines[1]
    assert str(directory / "kafka-embedded.log") in lines[1]
    call_command("devservices", "down", "--dir", str(directory))
    assert "stopped" in capsys.readouterr().out


def test_missing_java_is_reported_in_one_line_and_leaves_the_embedded_kafka_running(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**ONLY_KAFKA, "PATH": str(directory), "JAVA_HOME": ""}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("KAFKA_BROKERS", raising=False)  # that of other tests
    addresses = stack.up(directory, environ=ONLY_KAFKA, bound_to_pid=os.getpid())
    with pytest.raises(CommandError, match=r"^kafka-apache: .*openjdk-17-jre-headless maven$"):
        call_command("devservices", "up", "--dir", str(directory), "--kafka", "apache")
    assert stack.read_env(directory) == addresses
    assert stack.status(directory, environ=ONLY_KAFKA)[1].address == addresses["KAFKA_BROKERS"]
    assert "openjdk-17-jre-headless" in (kafka_apache.apache_kafka_unavailable() or "")


@pytest.mark.apache_kafka
def test_apache_kafka_keeps_messages_over_a_restart_and_gives_way_to_the_embedded_one(directory: Path) -> None:
    if (reason := kafka_apache.apache_kafka_unavailable()) and os.environ.get("REQUIRE_APACHE_KAFKA") != "1":
        pytest.skip(reason)
    brokers = stack.up(directory, kafka="apache", environ=ONLY_KAFKA, bound_to_pid=os.getpid())["KAFKA_BROKERS"]
    produce(brokers, "durable", b"kept")
    metadata = AdminClient({"bootstrap.servers": brokers}).list_topics(timeout=10)
    assert len(metadata.topics["durable"].partitions) == 4
    _topics_get_more_partitions_when_asked(brokers)
    _topics_keep_their_events_as_long_as_they_should(brokers)
    stack.down(directory)

    addresses = stack.up(directory, kafka="apache", environ=ONLY_KAFKA, bound_to_pid=os.getpid())
    assert consume(addresses["KAFKA_BROKERS"], "durable") == b"kept"
    apache = psutil.Process(pid_of(directory, "kafka-apache-1"))
    with pytest.raises(ServiceError, match="whose size cannot change"):
        stack.up(directory, kafka="apache", brokers=3, environ=ONLY_KAFKA)

    embedded = stack.up(directory, kafka="embedded", environ=ONLY_KAFKA)
    assert embedded != addresses
    assert has_ended(apache)
    assert stack.status(directory, environ=ONLY_KAFKA)[1].version.startswith("Kafka embedded")


def _topics_get_more_partitions_when_asked(brokers: str) -> None:
    """The embedded broker cannot."""

    def partitions(count: int, *arguments: str) -> dict[str, list[str]]:
        lines = create_kafka_topics(brokers, *arguments, KAFKA_PARTITIONS=str(count)).splitlines()
        return {topic: words for topic, *words in map(str.split, lines)}

    assert partitions(2)["sms.delivery"] == ["2", "partitions", "created"]
    assert partitions(6)["sms.delivery"] == ["2", "partitions", "was", "there"], "nobody is moved unasked"
    raised = partitions(6, "--raise")
    for table in ("sms.routes", "sms.suspended"):
        assert raised.pop(table) == ["1", "partitions", "was", "there"]
    assert {tuple(words) for words in raised.values()} == {("6", "partitions", "raised", "from", "2")}
    assert partitions(4, "--raise")["sms.delivery"] == ["6", "partitions", "was", "there"], "and never fewer"


def create_kafka_topics(brokers: str, *arguments: str, **settings: str) -> str:
    environ = os.environ | {"KAFKA_BROKERS": brokers} | settings
    command = [sys.executable, "manage.py", "create_kafka_topics", *arguments]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=True, cwd=PROJECT_ROOT).stdout


def _topics_keep_their_events_as_long_as_they_should(brokers: str) -> None:
    """The embedded broker keeps what it has room for, and answers no question about that."""
    config = dataclasses.replace(settings.CONFIG.kafka, brokers=[brokers], partitions=6)
    client = topics.admin(config)

    def settings_of(topic: str) -> dict[str, str]:
        (asked,) = client.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, topic)]).values()
        return {name: entry.value for name, entry in asked.result().items()}

    def set_to(topic: str, name: str, value: str) -> None:
        entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[entry])
        (changed,) = client.incremental_alter_configs([resource]).values()
        changed.result()

    day = 86_400_000
    assert topics.lacks(client, topics.topics_of(config)) == []
    assert settings_of("sms.delivery.otp")["retention.ms"] == str(10 * day)
    assert settings_of("sms.dlq")["retention.ms"] == str(60 * day)
    assert settings_of("sms.routes")["cleanup.policy"] == settings_of("sms.suspended")["cleanup.policy"] == "compact"
    # As the topics of an earlier version are, and what somebody's own hand made of them.
    set_to("sms.status", "retention.ms", str(7 * day))
    set_to("sms.delivery", "retention.bytes", "1000000")
    set_to("sms.routes", "cleanup.policy", "delete")
    set_to("sms.dlq", "retention.ms", str(400 * day))
    found = topics.lacks(client, topics.topics_of(config))
    assert [lack.topic for lack in found] == ["sms.delivery", "sms.routes", "sms.status"]
    assert str(found[2]) == "retention is 7 days, less than 10"
    with unittest.mock.patch.object(topics, "log") as log:
        topics.warn(dataclasses.replace(config, topic_held="sms.no_such_topic"))
    assert log.warning.call_args_list.pop(0).kwargs["topic"] == "sms.no_such_topic"
    warned = [call.kwargs["topic"] for call in log.warning.call_args_list]
    assert warned == ["sms.delivery", "sms.routes", "sms.status"]
    output = create_kafka_topics(brokers, KAFKA_PARTITIONS="6")
    assert "sms.status  6 partitions  was there; corrected: retention is 7 days, less than 10" in output
    assert topics.lacks(client, topics.topics_of(config)) == []
    assert settings_of("sms.dlq")["retention.ms"] == str(400 * day), "what is kept longer stays"
    assert "retention is" not in create_kafka_topics(brokers)


def test_a_process_that_ignores_sigterm_is_killed_in_the_end(directory: Path) -> None:
    stubborn = Daemon("stubborn", directory, marker=str(directory / "stubborn"))
    stubborn.start(["/bin/sh", "-c", "trap '' TERM; while :; do sleep 1; done", str(directory / "stubborn")])
    process = stubborn.process()
    assert process is not None
    stubborn.stop(sign=signal.SIGTERM, timeout=0.5)
    assert has_ended(process)
