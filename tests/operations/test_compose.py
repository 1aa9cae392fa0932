"""docker-compose.yml: it is valid, complete, pinned, and its processes are the project's."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from smsgateway import config
from tests.support.compose import FOLDER, example, interpolated, made
from tests.support.tools import ROOT, tool


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(interpolated())["services"]
    return found


def test_the_file_is_valid(tmp_path: Path) -> None:
    folder = tmp_path / "docker"
    folder.mkdir()
    (folder / "docker-compose.yml").write_text(interpolated(), encoding="utf-8")
    command = [tool("compose-go"), "-no-interpolation", "docker-compose.yml"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def compose() -> list[str]:
    """`docker compose`: the plugin of docker's client, or the same program by itself."""
    plugin = ["docker", "compose"]
    if shutil.which("docker") and not subprocess.run([*plugin, "version"], capture_output=True).returncode:
        return plugin
    return [tool("docker-compose-v2")]


def composed(*arguments: str, folder: Path = FOLDER) -> subprocess.CompletedProcess[str]:
    variables = folder / "made.env" if folder != FOLDER else Path(tempfile.mkdtemp()) / "made.env"
    variables.write_text("".join(f"{name}={value}\n" for name, value in made("try").items()))
    command = [*compose(), "--env-file", str(variables), "config", *arguments]
    # Nothing of our own environment: it goes before the file of variables.
    environ = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True)


def test_docker_compose_accepts_the_file() -> None:
    done = composed("--quiet")
    assert (done.returncode, done.stderr) == (0, "")


def test_docker_compose_reads_the_same_file_as_the_tests_here(services: dict[str, Any]) -> None:
    """So that what they find of settings, images and rights is true of what runs."""
    done = composed("--format", "json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["services"]
    assert found.keys() == services.keys()
    for name, service in services.items():
        assert found[name]["image"] == service["image"]
        assert found[name].get("command") == (service.get("command") or None), name
        environment = {key: str(value or "") for key, value in service.get("environment", {}).items()}
        assert {key: str(value or "") for key, value in found[name].get("environment", {}).items()} == environment, name


def test_docker_compose_would_find_something(tmp_path: Path) -> None:
    text = (FOLDER / "docker-compose.yml").read_text(encoding="utf-8")
    wrong = text.replace("stop_grace_period: 45s", "stop_grace_period: soon")
    (tmp_path / "docker-compose.yml").write_text(wrong, encoding="utf-8")
    assert composed("--quiet", folder=tmp_path).returncode != 0
    (tmp_path / "docker-compose.yml").write_text(text.replace("${LOG_LEVEL:-info}", "${NOWHERE_SET}"), encoding="utf-8")
    assert "NOWHERE_SET" in composed("--quiet", folder=tmp_path).stderr


def test_further_settings_reach_our_processes(tmp_path: Path) -> None:
    (tmp_path / "docker-compose.yml").write_text((FOLDER / "docker-compose.yml").read_text(encoding="utf-8"))
    (tmp_path / "gateway.env").write_text("OPERATORS_SMPP=shatel\n")
    done = composed("--format", "json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    for name, service in json.loads(done.stdout)["services"].items():
        environment = service.get("environment", {}).get("OPERATORS_SMPP")
        assert environment == ("shatel" if service["image"].startswith("smsgateway:") else None), name


def test_every_image_has_an_exact_version(services: dict[str, Any]) -> None:
    images = {service["image"] for service in services.values()} - {"smsgateway:local"}
    assert len(images) >= 7
    assert [image for image in images if not re.search(r":v?\d+\.\d+[\w.-]*$", image)] == []


def test_every_process_of_the_procfile_runs_and_has_its_scrape_job(services: dict[str, Any]) -> None:
    procfile = [line.partition(":")[0] for line in (ROOT / "Procfile").read_text(encoding="utf-8").splitlines()]
    assert set(procfile) <= services.keys()
    scrapes = yaml.safe_load((FOLDER / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))["scrape_configs"]
    jobs = {scrape["job_name"] for scrape in scrapes}
    assert set(procfile) - {"operators"} | {"admin", "node"} <= jobs
    for scrape in scrapes:
        assert all(name in services for name in scrape["dns_sd_configs"][0]["names"]), scrape


def test_our_containers_have_no_unneeded_rights(services: dict[str, Any]) -> None:
    ours = {name: service for name, service in services.items() if service["image"] == "smsgateway:local"}
    assert {"api", "admin", "watch", "partitions", "prepare"} <= ours.keys()
    for name, service in ours.items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_third_party_services_have_health_checks(services: dict[str, Any]) -> None:
    others = {name: service for name, service in services.items() if not service["image"].startswith("smsgateway:")}
    assert [name for name, service in others.items() if "healthcheck" not in service] == []


def test_the_settings_are_complete_and_known(services: dict[str, Any]) -> None:
    environment = {name: str(value or "") for name, value in services["api"]["environment"].items()}
    known = {name for _, _, name, _, _ in config.declarations()}
    assert environment.keys() <= known
    assert config.load(environment)[1] == []
    assert config.warnings(environment) == []


def environment_of_api(given: dict[str, str]) -> dict[str, str]:
    found = yaml.safe_load(interpolated(given))["services"]["api"]["environment"]
    return {name: str(value or "") for name, value in found.items()}


def test_without_an_operator_and_with_secrets_of_its_own_it_starts() -> None:
    environment = environment_of_api(made())
    assert not environment["OPERATOR_MCI_URL"]
    assert config.load(environment)[1] == []


def test_the_placeholders_of_the_example_stop_the_start() -> None:
    refused = {problem.message.split()[0] for problem in config.load(environment_of_api(example()))[1]}
    assert refused == {"SECRET_KEY", "DATABASE_URL", "CLICKHOUSE_URL"}
    again = {problem.message.split()[0] for problem in config.load(environment_of_api(made() | example()))[1]}
    assert again == refused


def test_each_secret_is_made_for_itself() -> None:
    first, second = (subprocess.run([FOLDER / "make_env", "try"], capture_output=True, text=True) for _ in range(2))
    secrets = [line for line in first.stdout.splitlines() if "SECRET" in line or "TOKEN" in line or "PASSWORD" in line]
    values = [line.partition("=")[2] for line in secrets if not line.startswith("#")]
    assert len(values) == len(set(values)) == 8
    assert not set(values) & set(second.stdout.replace("=", "\n").splitlines())


def test_the_simulator_runs_in_a_trial_only(services: dict[str, Any]) -> None:
    assert services["operators"]["profiles"] == ["try"]
    assert made("try")["COMPOSE_PROFILES"] == "try"
    assert "COMPOSE_PROFILES" not in made()


def test_metrics_are_scraped_from_a_port_that_is_not_published(services: dict[str, Any]) -> None:
    scrapes = yaml.safe_load((FOLDER / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))["scrape_configs"]
    ports = {scrape["dns_sd_configs"][0]["port"] for scrape in scrapes}
    assert ports == {9100}
    published = {port.rpartition(":")[2] for service in services.values() for port in service.get("ports", [])}
    assert "9100" not in published


def test_the_node_exporter_that_tests_run_is_the_one_that_runs_here(services: dict[str, Any]) -> None:
    tools = (ROOT / "scripts" / "check_tools.sh").read_text(encoding="utf-8")
    (version,) = re.findall(r"node_exporter@(\S+)", tools)
    assert services["node-exporter"]["image"] == f"prom/node-exporter:{version}"
