"""A real Prometheus with our rules, and the node exporter as docker-compose.yml runs it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import yaml

from apps.devservices.gateway import answer
from apps.devservices.ports import remembered_ports
from tests.support.compose import FOLDER
from tests.support.tools import ROOT, tool
from tests.support.waiting import wait_for

RULES = ROOT / "monitoring" / "rules"
HOST = "127.0.0.1"


class Prometheus:
    """Scrapes `targets` (a port by job name) and evaluates monitoring/rules several times a second.

    `instead`: texts of the rules to be replaced, such as an age that no test can wait for; each must be there.
    """

    def __init__(self, folder: Path, targets: Mapping[str, int], *, instead: Mapping[str, str] | None = None) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        rules = {path.name: path.read_text(encoding="utf-8") for path in RULES.glob("*.yml")}
        for old, new in (instead or {}).items():
            assert any(old in text for text in rules.values()), old
            rules = {name: text.replace(old, new) for name, text in rules.items()}
        for name, text in rules.items():
            (folder / name).write_text(text.replace("interval: 30s", "interval: 200ms"), encoding="utf-8")
        configuration = {
            "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "200ms"},
            "rule_files": [str(folder / name) for name in rules],
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": [f"{HOST}:{port}"]}]} for job, port in targets.items()
            ],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration), encoding="utf-8")
        (self._port,) = remembered_ports(folder / "ports", count=1)

    def __enter__(self) -> Self:
        command = [
            tool("prometheus"),
            f"--config.file={self._folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self._folder / 'data'}",
            f"--web.listen-address={HOST}:{self._port}",
        ]
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._folder)
        wait_for(self._is_ready, "Prometheus")
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.terminate()
        self._process.wait()

    def _is_ready(self) -> bool:
        assert self._process.poll() is None, (self._folder / "log").read_text()
        return answer(f"http://{HOST}:{self._port}/-/ready") == "ok"

    def knows(self, expression: str) -> bool:
        """Whether the expression has a result now."""
        query = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"http://{HOST}:{self._port}/api/v1/query?{query}") as response:
            return bool(json.load(response)["data"]["result"])

    def alerts(self, name: str) -> list[dict[str, str]]:
        """The labels of this alert's instances whose condition holds now, whether or not its `for` is over."""
        with urllib.request.urlopen(f"http://{HOST}:{self._port}/api/v1/alerts") as response:
            found: list[dict[str, Any]] = json.load(response)["data"]["alerts"]
        return [alert["labels"] for alert in found if alert["labels"]["alertname"] == name]

    def told(self, name: str, **labels: str) -> bool:
        """Whether an instance of the alert with these labels is there."""
        return any(labels.items() <= found.items() for found in self.alerts(name))


@contextlib.contextmanager
def node_exporter(folder: Path, textfiles: Path, *, within: Sequence[str] = ()) -> Iterator[tuple[int, Any]]:
    """The node exporter, with the arguments that the compose file gives it; its port, and its standard input.

    `within`: a command that runs it.
    """
    folder.mkdir(parents=True)
    (port,) = remembered_ports(folder / "ports", count=1)
    # Which file systems there are, /proc/1 tells. Ours are those of the process itself.
    (folder / "proc").mkdir()
    (folder / "proc" / "1").symlink_to("/proc/self")
    given = yaml.safe_load((FOLDER / "docker-compose.yml").read_text(encoding="utf-8"))["services"]["node-exporter"]
    places = {"--path.rootfs": "/", "--collector.textfile.directory": str(textfiles)}
    assert places.keys() <= {argument.partition("=")[0] for argument in given["command"]}
    arguments = [
        f"{name}={places[name]}" if (name := argument.partition("=")[0]) in places else argument
        for argument in given["command"]
    ]
    command = [*within, tool("node_exporter"), *arguments]
    command += [f"--path.procfs={folder / 'proc'}", f"--web.listen-address={HOST}:{port}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_for(
            lambda: process.poll() is not None or answer(f"http://{HOST}:{port}/metrics") == "ok", "the node exporter"
        )
        assert process.poll() is None, (folder / "log").read_text()
        yield port, process.stdin
    finally:
        os.killpg(process.pid, 15)
        process.communicate()
