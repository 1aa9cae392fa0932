"""Apache Kafka (KRaft: no ZooKeeper), from its jars on Maven Central: durable, one broker or three."""

from __future__ import annotations

import base64
import functools
import hashlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import uuid
from pathlib import Path
from typing import Final

from apps.devservices.kafka_embedded import brokers_answer
from apps.devservices.ports import HOST, remembered_ports
from apps.devservices.processes import Daemon, ServiceError, read_text, write_atomically
from apps.devservices.service import Service

PARTITIONS: Final = 4
OLDEST_JAVA: Final = 17
START_SECONDS: Final = 90.0
DOWNLOAD_SECONDS: Final = 600.0
POM: Final = Path(__file__).with_name("kafka") / "pom.xml"
LOGGING: Final = POM.with_name("log4j2.properties")
HEAP: Final = {1: "512m", 3: "384m"}
"""The heap of each broker, by the number of brokers."""

SERVER_PROPERTIES: Final = """\
process.roles=broker,controller
node.id={node}
controller.quorum.voters={voters}
listeners=BROKER://{host}:{broker_port},CONTROLLER://{host}:{controller_port}
advertised.listeners=BROKER://{host}:{broker_port}
inter.broker.listener.name=BROKER
controller.listener.names=CONTROLLER
listener.security.protocol.map=BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=true
num.partitions={partitions}
default.replication.factor={brokers}
min.insync.replicas={in_sync}
offsets.topic.num.partitions={partitions}
offsets.topic.replication.factor={brokers}
transaction.state.log.num.partitions={partitions}
transaction.state.log.replication.factor={brokers}
transaction.state.log.min.isr={in_sync}
share.coordinator.state.topic.num.partitions={partitions}
share.coordinator.state.topic.replication.factor={brokers}
share.coordinator.state.topic.min.isr={in_sync}
group.initial.rebalance.delay.ms=0
"""


class ApacheKafka(Service):
    """A KRaft cluster whose nodes are both broker and controller. Its size is fixed at its first start."""

    name = "kafka-apache"
    variable = "KAFKA_BROKERS"

    def __init__(self, directory: Path, *, brokers: int = 1) -> None:
        super().__init__(directory)
        self._wanted_brokers = brokers

    def version(self) -> str:
        count = self._recorded_brokers() or self._wanted_brokers
        return f"Apache Kafka {_kafka_version()} ({count} broker{'s' if count > 1 else ''})"

    @property
    def log(self) -> Path:
        return self._daemon(1).log

    def address(self) -> str | None:
        count = self._recorded_brokers()
        if not count or any(self._daemon(node).process() is None for node in range(1, count + 1)):
            return None
        ports = (read_text(self._ports) or "").split()
        address = ",".join(f"{HOST}:{port}" for port in ports[:count])
        return address if brokers_answer(address, brokers=count) else None

    def start(self) -> str:
        count = self._wanted_brokers
        if count not in HEAP:
            raise ServiceError(f"{self.name}: a cluster has 1 or 3 brokers, not {count}.")
        if (recorded := self._recorded_brokers()) not in (None, count):
            raise ServiceError(
                f"{self.name}: {self.data} holds a cluster of {recorded}, whose size cannot change. "
                f"Start it with --brokers {recorded}, choose another --dir, or remove the folder."
            )
        if address := self.address():
            return address
        self.stop()
        java, jars = find_java(), fetch_jars()
        ports = remembered_ports(self._ports, count=2 * count)
        nodes = range(1, count + 1)
        for node in nodes:
            self._configure(node, broker_ports=ports[:count], controller_ports=ports[count:])
            self._format(node, java=java, jars=jars)
        for node in nodes:
            self._daemon(node).start(_java_command(java, jars, HEAP[count], "kafka.Kafka", str(self._properties(node))))
        try:
            return self._daemon(1).wait_ready(self._address_or_failure, timeout=START_SECONDS)
        except ServiceError:
            self.stop()
            raise

    def _address_or_failure(self) -> str | None:
        """The cluster's address once all nodes answer. Raises ServiceError as soon as one has ended."""
        for node in range(1, self._wanted_brokers + 1):
            self._daemon(node).check_alive()
        return self.address()

    def stop(self) -> None:
        nodes = range(1, (self._recorded_brokers() or 0) + 1)
        # All at once: otherwise the last one would wait for a quorum that is gone.
        for node in nodes:
            self._daemon(node).send(signal.SIGTERM)
        for node in nodes:
            self._daemon(node).stop(timeout=30.0)

    @property
    def _ports(self) -> Path:
        return self.data / "ports"

    def _recorded_brokers(self) -> int | None:
        """The number of brokers of the cluster in this folder, from its recorded ports: two per broker."""
        ports = read_text(self._ports)
        return len(ports.split()) // 2 if ports else None

    def _properties(self, node: int) -> Path:
        return self.data / f"node-{node}.properties"

    def _daemon(self, node: int) -> Daemon:
        return Daemon(f"{self.name}-{node}", self.directory, marker=str(self._properties(node)))

    def _configure(self, node: int, *, broker_ports: list[int], controller_ports: list[int]) -> None:
        brokers = len(broker_ports)
        voters = ",".join(f"{number}@{HOST}:{port}" for number, port in enumerate(controller_ports, start=1))
        text = SERVER_PROPERTIES.format(
            node=node,
            voters=voters,
            host=HOST,
            broker_port=broker_ports[node - 1],
            controller_port=controller_ports[node - 1],
            data=self.data / f"node-{node}",
            partitions=PARTITIONS,
            brokers=brokers,
            in_sync=min(2, brokers),
        )
        write_atomically(self._properties(node), text)

    def _format(self, node: int, *, java: str, jars: Path) -> None:
        """Create the node's data folder, unless it exists."""
        if (self.data / f"node-{node}" / "meta.properties").exists():
            return
        cluster_file = self.data / "cluster-id"
        cluster = read_text(cluster_file) or _new_cluster_id()
        write_atomically(cluster_file, f"{cluster}\n")
        arguments = ["format", "--ignore-formatted", f"--cluster-id={cluster}", f"--config={self._properties(node)}"]
        result = subprocess.run(
            _java_command(java, jars, "256m", "kafka.tools.StorageTool", *arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if result.returncode:
            write_atomically(self._daemon(node).log, result.stdout)
            raise ServiceError(f"{self.name}: cannot create the data folder: {self._daemon(node).complaint()}")


def apache_kafka_unavailable() -> str | None:
    """Why Apache Kafka cannot run here, or None. Downloads its jars if they are missing."""
    try:
        find_java()
        fetch_jars()
    except ServiceError as error:
        return str(error)
    return None


def find_java() -> str:
    """The path of a recent Java. Raises ServiceError without one."""
    hint = f"Apache Kafka needs Java {OLDEST_JAVA} or newer: apt install openjdk-17-jre-headless maven"
    home = os.environ.get("JAVA_HOME")
    java = (shutil.which("java", path=f"{home}/bin") if home else None) or shutil.which("java")
    if java is None:
        raise ServiceError(f"kafka-apache: there is no java on the PATH. {hint}")
    output = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(\d+)', output)
    if not found or int(found[1]) < OLDEST_JAVA:
        raise ServiceError(f"kafka-apache: {java} is {output.partition(chr(10))[0]}. {hint}")
    return java


def fetch_jars() -> Path:
    """The folder with Kafka's jars, downloaded from Maven Central if it is missing."""
    cache = Path(os.environ.get("DEVSERVICES_CACHE") or Path.home() / ".cache" / "smsgateway")
    digest = hashlib.sha256(POM.read_bytes()).hexdigest()[:8]
    jars = cache / f"kafka-{_kafka_version()}-{digest}"
    if jars.exists():
        return jars
    maven = shutil.which("mvn")
    if maven is None:
        raise ServiceError(
            "kafka-apache: Maven, which fetches its jars, is not on the PATH: apt install openjdk-17-jre-headless maven"
        )
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        draft = Path(scratch) / "jars"
        goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={draft}"]
        try:
            result = subprocess.run(
                [maven, "--batch-mode", "--no-transfer-progress", "--quiet", "--file", str(POM), *goal],
                capture_output=True,
                text=True,
                check=False,
                timeout=DOWNLOAD_SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            raise ServiceError("kafka-apache: Maven Central is too slow. Try again.") from error
        if result.returncode:
            errors = [line for line in result.stdout.splitlines() if line.startswith("[ERROR]")]
            raise ServiceError(f"kafka-apache: Maven cannot fetch its jars: {(errors or ['it gave no reason'])[0]}")
        if not jars.exists():  # otherwise another process was faster
            draft.replace(jars)
    return jars


@functools.cache
def _kafka_version() -> str:
    found = re.search(r"<kafka\.version>(.+)</kafka\.version>", POM.read_text())
    if found is None:
        raise ValueError(f"{POM} names no kafka.version")
    return found[1]


def _new_cluster_id() -> str:
    """22 characters, as `StorageTool random-uuid` prints; never one that looks like an option."""
    while (encoded := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass
    return encoded


def _java_command(java: str, jars: Path, heap: str, main_class: str, *arguments: str) -> list[str]:
    return [
        java,
        f"-Xmx{heap}",
        "-XX:+ExitOnOutOfMemoryError",
        f"-Dlog4j2.configurationFile={LOGGING}",
        *("-cp", f"{jars}/*"),
        main_class,
        *arguments,
    ]
