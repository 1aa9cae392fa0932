"""The broker inside librdkafka, as a process: any Kafka client can use it. It keeps everything in memory.

It has no CreateTopics (topics appear on first use, with 4 partitions) and keeps at most 5 MiB per partition: enough for
tests and a first try. Use `kafka_apache` for load and durability.
"""

from __future__ import annotations

import argparse
import signal
from pathlib import Path
from typing import Final

import confluent_kafka
from confluent_kafka.admin import AdminClient

from apps.devservices.processes import Daemon, python_command, read_text, write_atomically
from apps.devservices.service import Service

START_SECONDS: Final = 30.0


class EmbeddedKafka(Service):
    """One broker of librdkafka's mock cluster."""

    name = "kafka-embedded"
    variable = "KAFKA_BROKERS"

    def version(self) -> str:
        return f"Kafka embedded (librdkafka {confluent_kafka.libversion()[0]}, in memory)"

    def address(self) -> str | None:
        address = read_text(self._announcement)
        return address if address and self._daemon.process() and brokers_answer(address) else None

    def start(self) -> str:
        if address := self.address():
            return address
        self._daemon.stop()
        self._announcement.unlink(missing_ok=True)
        self._daemon.start(python_command(__name__, str(self._announcement)))
        return self._daemon.wait_ready(self.address, timeout=START_SECONDS)

    def stop(self) -> None:
        self._daemon.stop()
        self._announcement.unlink(missing_ok=True)

    @property
    def _announcement(self) -> Path:
        return self.data / "address"

    @property
    def _daemon(self) -> Daemon:
        return Daemon(self.name, self.directory, marker=str(self._announcement))


def brokers_answer(address: str, *, brokers: int = 1) -> bool:
    """True if the cluster at `host:port,…` answers and has at least this many brokers."""
    # Connections fail while a broker starts: that must not fill the caller's terminal.
    client = AdminClient({"bootstrap.servers": address, "log_level": 0})
    try:
        return len(client.list_topics(timeout=2.0).brokers) >= brokers
    except confluent_kafka.KafkaException:
        return False


def serve(announcement: Path) -> None:
    """Run the broker until SIGTERM. Writes its `host:port` to `announcement` when it listens."""
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # before librdkafka starts its threads, which inherit it
    host = confluent_kafka.Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "unused"})
    broker = next(iter(host.list_topics(timeout=START_SECONDS).brokers.values()))
    write_atomically(announcement, f"{broker.host}:{broker.port}\n")
    signal.sigwait(signals)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=serve.__doc__)
    parser.add_argument("announcement", type=Path)
    serve(parser.parse_args().announcement)
