"""ClickHouse: a recent `clickhouse` binary on the PATH, or else chDB behind `chdb_server`."""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import importlib.util
import re
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from clickhouse_driver import Client
from clickhouse_driver.errors import Error as ClickHouseError

from apps.devservices.ports import HOST, remembered_ports
from apps.devservices.processes import Daemon, ServiceError, python_command, read_text, write_atomically
from apps.devservices.service import Service

DATABASE: Final = "smsgateway"
OLDEST_SERVER: Final = 23
"""Major version: Debian's 18.16 has neither DateTime64 nor deduplication tokens."""
START_SECONDS: Final = 60.0
SERVER_CONFIG: Final = """<clickhouse>
  <logger><level>warning</level><console>1</console></logger>
  <listen_host>{host}</listen_host>
  <tcp_port>{port}</tcp_port>
  <path>{data}/</path>
  <users><default>
    <password></password><networks><ip>{host}</ip></networks><profile>default</profile><quota>default</quota>
  </default></users>
  <profiles><default/></profiles>
  <quotas><default/></quotas>
</clickhouse>
"""


@dataclasses.dataclass(frozen=True, slots=True)
class ServerBinary:
    """A ClickHouse server on this machine: its command and version."""

    command: list[str]
    version: str


class ClickHouse(Service):
    """One ClickHouse with the database `smsgateway`; the native protocol on a loopback port that stays the same."""

    name = "clickhouse"
    variable = "CLICKHOUSE_URL"

    def version(self) -> str:
        if self._server:
            return f"ClickHouse {self._server.version}"
        return f"ClickHouse (chDB {importlib.metadata.version('chdb-core')})"

    def address(self) -> str | None:
        port = read_text(self._ports)
        if port is None or self._daemon.process() is None:
            return None
        return f"clickhouse://default@{HOST}:{port}/{DATABASE}" if _answers(int(port)) else None

    def start(self) -> str:
        if address := self.address():
            return address
        self._daemon.stop()
        (port,) = remembered_ports(self._ports, count=1)
        if self._server:
            self._start_server(self._server.command, port)
        else:
            self._start_chdb(port)
        address = self._daemon.wait_ready(self.address, timeout=START_SECONDS)
        if self._server:
            _execute(port, f"CREATE DATABASE IF NOT EXISTS {DATABASE}")
        return address

    def stop(self) -> None:
        self._daemon.stop(timeout=30.0)

    @property
    def data(self) -> Path:
        # The server and chDB cannot read each other's folder.
        return self.directory / (f"{self.name}-server" if self._server else self.name)

    @property
    def _ports(self) -> Path:
        return self.directory / f"{self.name}.ports"

    @property
    def _daemon(self) -> Daemon:
        return Daemon(self.name, self.directory, marker=str(self.directory / self.name))

    @functools.cached_property
    def _server(self) -> ServerBinary | None:
        return find_server_binary()

    def _start_chdb(self, port: int) -> None:
        if importlib.util.find_spec("chdb") is None:
            raise ServiceError(
                f"{self.name}: the wheel chdb-core is missing. pip install -r requirements-dev.txt, "
                "or set CLICKHOUSE_URL to a ClickHouse of your own."
            )
        self._daemon.start(
            python_command("apps.devservices.chdb_server", str(self.data), "--port", str(port), "--database", DATABASE),
            environ={"TZ": "UTC"},
        )

    def _start_server(self, command: list[str], port: int) -> None:
        config = self.data / "config.xml"
        write_atomically(config, SERVER_CONFIG.format(host=HOST, port=port, data=escape(str(self.data))))
        # With its own watchdog process the pid would not be the server's.
        self._daemon.start(
            [*command, f"--config-file={config}"], environ={"TZ": "UTC", "CLICKHOUSE_WATCHDOG_ENABLE": "0"}
        )


def find_server_binary() -> ServerBinary | None:
    """The ClickHouse server on the PATH, if it is recent enough."""
    for name, arguments in (("clickhouse", ["server"]), ("clickhouse-server", [])):
        if path := shutil.which(name):
            output = subprocess.run([path, *arguments, "--version"], capture_output=True, text=True, check=False).stdout
            found = re.search(r"version ((\d+)\.[\d.]*\d)", output)
            if found and int(found[2]) >= OLDEST_SERVER:
                return ServerBinary(command=[path, *arguments], version=found[1])
    return None


def _execute(port: int, query: str) -> None:
    with Client(HOST, port, connect_timeout=5, sync_request_timeout=5) as client:
        client.execute(query)


def _answers(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=5).close()  # the driver would log a refusal at length
        _execute(port, "SELECT 1")
    except (ClickHouseError, OSError, EOFError):
        return False
    return True
