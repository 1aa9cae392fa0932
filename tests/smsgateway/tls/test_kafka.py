"""Kafka with TLS and SASL, against Apache Kafka: one broker with a listener for each certificate, right and wrong."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from structlog.testing import capture_logs

from apps.devservices import kafka_apache
from apps.devservices.ports import remembered_ports
from smsgateway import config
from smsgateway.config.kafka import Kafka
from smsgateway.kafka import client as kafka
from tests.support.certificates import Certificates
from tests.support.settings import COMPLETE
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.apache_kafka, pytest.mark.timeout(600)]

USER, PASSWORD = "gateway", "pencil-horse-3781"
PROTOCOLS: Final = {
    "CONTROLLER": "PLAINTEXT",
    "INSIDE": "PLAINTEXT",
    "RIGHT": "SSL",
    "WRONG_NAME": "SSL",
    "EXPIRED": "SSL",
    "MUTUAL": "SSL",
    "LOGIN": "SASL_SSL",
}
CERTIFICATES: Final = {"WRONG_NAME": "wrong_name", "EXPIRED": "expired"}


class Broker(NamedTuple):
    ports: dict[str, int]

    def settings(self, listener: str, **given: str) -> Kafka:
        """Our settings for this listener, read as a process reads them."""
        own = {"KAFKA_BROKERS": f"localhost:{self.ports[listener]}", "KAFKA_SECURITY_PROTOCOL": PROTOCOLS[listener]}
        given = {f"KAFKA_{name.upper()}": value for name, value in given.items()}
        found, problems = config.load(COMPLETE | own | given)
        assert problems == []
        return found.kafka


def properties(folder: Path, ports: dict[str, int], certificates: Certificates) -> str:
    hosts = {name: "127.0.0.1" if protocol == "PLAINTEXT" else "localhost" for name, protocol in PROTOCOLS.items()}
    places = {name: f"{name}://{hosts[name]}:{port}" for name, port in ports.items()}
    lines = [
        "process.roles=broker,controller",
        "node.id=1",
        f"controller.quorum.voters=1@127.0.0.1:{ports['CONTROLLER']}",
        f"listeners={','.join(places.values())}",
        f"advertised.listeners={','.join(place for name, place in places.items() if name != 'CONTROLLER')}",
        "controller.listener.names=CONTROLLER",
        "inter.broker.listener.name=INSIDE",
        f"listener.security.protocol.map={','.join(f'{name}:{protocol}' for name, protocol in PROTOCOLS.items())}",
        f"log.dirs={folder / 'data'}",
        "offsets.topic.num.partitions=1",
        "offsets.topic.replication.factor=1",
        "transaction.state.log.replication.factor=1",
        "transaction.state.log.min.isr=1",
        "group.initial.rebalance.delay.ms=0",
        "listener.name.mutual.ssl.client.auth=required",
        "listener.name.mutual.ssl.truststore.type=PEM",
        f"listener.name.mutual.ssl.truststore.location={certificates.ca}",
        "listener.name.login.sasl.enabled.mechanisms=SCRAM-SHA-512",
        "listener.name.login.scram-sha-512.sasl.jaas.config="
        "org.apache.kafka.common.security.scram.ScramLoginModule required;",
    ]
    for name in (name for name, protocol in PROTOCOLS.items() if protocol != "PLAINTEXT"):
        shown = getattr(certificates, CERTIFICATES.get(name, "right"))
        store = folder / f"{name}.pem"
        store.write_bytes(shown.key.read_bytes() + shown.chain.read_bytes())
        lines += [f"listener.name.{name.lower()}.ssl.keystore.type=PEM"]
        lines += [f"listener.name.{name.lower()}.ssl.keystore.location={store}"]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def broker(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    if (reason := kafka_apache.apache_kafka_unavailable()) and os.environ.get("REQUIRE_APACHE_KAFKA") != "1":
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("kafka")
    ports = dict(zip(PROTOCOLS, remembered_ports(folder / "ports", count=len(PROTOCOLS)), strict=True))
    (folder / "server.properties").write_text(properties(folder, ports, certificates))
    java = [kafka_apache.find_java(), "-Xmx384m", "-cp", f"{kafka_apache.fetch_jars()}/*"]
    java.insert(1, f"-Dlog4j2.configurationFile={kafka_apache.LOGGING}")
    login = f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"
    cluster = ["--cluster-id=MkU3OEVBNTcwNTJENDM2Qk", f"--config={folder / 'server.properties'}"]
    made = subprocess.run(
        [*java, "kafka.tools.StorageTool", "format", *cluster, f"--add-scram={login}"], capture_output=True, text=True
    )
    assert made.returncode == 0, made.stdout + made.stderr
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*java, "kafka.Kafka", str(folder / "server.properties")], stdout=log, stderr=subprocess.STDOUT
        )
    try:
        inside = kafka.producer(Broker(ports).settings("INSIDE"), client_id="test")

        def answers() -> bool:
            assert process.poll() is None, (folder / "log").read_text()[-2000:]
            try:
                return bool(inside.list_topics(timeout=1).brokers)
            except kafka.KafkaException:
                return False

        wait_for(answers, "Kafka to answer")
        yield Broker(ports)
    finally:
        process.terminate()
        process.wait()


def passes(settings: Kafka) -> None:
    """Publish an event with these settings and read it again."""
    topic = f"tls.{uuid.uuid4().hex[:10]}"
    kafka.publish_and_wait(kafka.producer(settings, client_id="test"), [kafka.Record(topic, b"k", b"v", [])])
    reader = kafka.consumer(settings, process=topic)
    reader.subscribe([topic])
    read: list[Any] = []

    def has_read() -> bool:
        read.extend(reader.consume(1, timeout=0.5))
        return bool(read)

    wait_for(has_read, "the event")
    assert [message.value() for message in read] == [b"v"]
    reader.close()


def refused(settings: Kafka) -> list[Any]:
    """What is logged while an event cannot be published."""
    settings = dataclasses.replace(settings, producer_timeout=2000)
    with capture_logs() as logs, pytest.raises(kafka.KafkaUnavailable):
        kafka.publish_and_wait(kafka.producer(settings, client_id="test"), [kafka.Record("tls", b"k", b"v", [])])
    return list(logs)


def test_the_right_certificate_is_accepted(broker: Broker, certificates: Certificates) -> None:
    passes(broker.settings("RIGHT", ssl_ca_file=str(certificates.ca)))


@pytest.mark.parametrize(("listener", "trusted"), [("RIGHT", "other_ca"), ("WRONG_NAME", "ca"), ("EXPIRED", "ca")])
def test_a_wrong_certificate_is_refused(
    broker: Broker, certificates: Certificates, listener: str, trusted: str
) -> None:
    logs = refused(broker.settings(listener, ssl_ca_file=str(getattr(certificates, trusted))))
    line = next(line for line in logs if line["event"] == "kafka_tls_failed")
    assert "certificate verify failed" in line["error"] or "certificate" in line["error"]


def test_a_process_shows_its_own_certificate(broker: Broker, certificates: Certificates) -> None:
    own = {"ssl_certificate_file": str(certificates.client.chain), "ssl_key_file": str(certificates.client.key)}
    passes(broker.settings("MUTUAL", ssl_ca_file=str(certificates.ca), **own))
    refused(broker.settings("MUTUAL", ssl_ca_file=str(certificates.ca)))


def test_a_login_by_scram_over_tls(broker: Broker, certificates: Certificates) -> None:
    login = {"ssl_ca_file": str(certificates.ca), "sasl_username": USER, "sasl_password": PASSWORD}
    passes(broker.settings("LOGIN", **login))
    logs = refused(broker.settings("LOGIN", **login | {"sasl_password": "another-horse-11"}))
    assert any(line["event"] == "kafka_login_failed" for line in logs)
    assert PASSWORD not in str(logs)


def test_missing_files_and_half_a_login_are_problems_of_the_settings() -> None:
    (problem,) = config.load(COMPLETE | {"KAFKA_SSL_CA_FILE": "/no/such.pem"})[1]
    assert problem.message == "KAFKA_SSL_CA_FILE is wrong: there is no file /no/such.pem."
