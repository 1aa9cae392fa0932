"""Rules, alerts, dashboard: they are valid, tested, explained, and ask for metrics that exist."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from smsgateway import metrics
from tests.support.pages import anchors
from tests.support.tools import ROOT, tool

MONITORING = ROOT / "monitoring"
# What others export, and who: all else must be declared in smsgateway/metrics.py.
OF_EXPORTERS = {
    "up": "Prometheus itself",
    "ALERTS": "Prometheus itself",
    "node_filesystem_avail_bytes": "node exporter",
    "node_filesystem_size_bytes": "node exporter",
    "node_filesystem_readonly": "node exporter",
    "kube_cronjob_status_last_successful_time": "kube-state-metrics",
}
WANTED = {  # what the alerts must cover at least
    "HighErrorRate", "SendSlow", "OutboxOld", "ConsumerBehind", "DeliveryRateLow", "CircuitOpen", "StatisticsStale",
    "PartitionsAhead", "LedgerMismatch", "DiskLow", "ProcessDown",
}  # fmt: skip
_SUFFIXES = {"counter": ("",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


def rules(name: str) -> list[dict[str, Any]]:
    groups = yaml.safe_load((MONITORING / "rules" / name).read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in rules("alerts.yml")}


def declared() -> dict[str, tuple[str, ...]]:
    """The name of each series that we export, with its labels."""
    found = {}
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            name = metric._name + ("_total" if metric._type == "counter" else "")
            for suffix in _SUFFIXES[metric._type]:
                labels = (*metric._labelnames, "le") if suffix == "_bucket" else metric._labelnames
                found[name + suffix] = tuple(labels)
    return found


def names_in(expression: str) -> set[str]:
    """The metrics that an expression asks for: what is left without strings, label lists, functions and words."""
    text = re.sub(r"\"[^\"]*\"", "", expression)
    text = re.sub(r"\b(by|on|ignoring|without|group_left|group_right)\s*\([^)]*\)", " ", text)
    text = re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", text)
    words = set(re.findall(r"[a-zA-Z_:][\w:]*(?!\s*\()\b", text))
    functions = set(re.findall(r"([a-zA-Z_][\w]*)\s*\(", text))
    return {word for word in words - functions - {"and", "or", "unless", "offset", "bool"} if not word.isdigit()}


def expressions() -> list[tuple[str, str]]:
    found = [(rule.get("alert") or rule["record"], rule["expr"]) for name in ("alerts.yml", "recording.yml")
             for rule in rules(name)]  # fmt: skip
    dashboard = json.loads((MONITORING / "dashboards" / "gateway.json").read_text(encoding="utf-8"))
    for panel in dashboard["panels"]:
        found += [(panel["title"], target["expr"]) for target in panel.get("targets", [])]
    return found


def test_the_rules_are_valid() -> None:
    files = sorted(str(path) for path in (MONITORING / "rules").glob("*.yml"))
    done = subprocess.run([tool("promtool"), "check", "rules", *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def promtool_tests(folder: Path) -> subprocess.CompletedProcess[str]:
    path = folder / "tests" / "alerts_test.yml"
    return subprocess.run([tool("promtool"), "test", "rules", str(path)], capture_output=True, text=True)


def test_every_alert_fires_when_it_should_and_not_otherwise() -> None:
    done = promtool_tests(MONITORING)
    assert done.returncode == 0, done.stdout + done.stderr
    names = [case["name"] for case in yaml.safe_load((MONITORING / "tests" / "alerts_test.yml").read_text())["tests"]]
    assert sorted(names) == sorted(f"{alert} {does}" for alert in alerts() for does in ("fires", "is quiet"))
    assert alerts().keys() >= WANTED


@pytest.mark.parametrize("alert", sorted(alerts()))
def test_the_tests_of_an_alert_fail_without_it(alert: str, tmp_path: Path) -> None:
    for name in ("rules", "tests"):
        (tmp_path / name).mkdir()
    (tmp_path / "rules" / "recording.yml").write_text((MONITORING / "rules" / "recording.yml").read_text())
    document = yaml.safe_load((MONITORING / "rules" / "alerts.yml").read_text())
    (group,) = document["groups"]
    group["rules"] = [rule | {"expr": "vector(0) > 1"} for rule in group["rules"] if rule["alert"] == alert]
    (tmp_path / "rules" / "alerts.yml").write_text(yaml.safe_dump(document))
    cases = yaml.safe_load((MONITORING / "tests" / "alerts_test.yml").read_text())
    cases["tests"] = [case for case in cases["tests"] if case["name"] == f"{alert} fires"]
    (tmp_path / "tests" / "alerts_test.yml").write_text(yaml.safe_dump(cases))
    assert promtool_tests(tmp_path).returncode != 0


@pytest.mark.parametrize("path", ["docker/prometheus/prometheus.yml", "monitoring/kubernetes-scrape.yml"])
def test_the_configurations_of_prometheus_are_valid(path: str, tmp_path: Path) -> None:
    config = yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))
    for scrape in config["scrape_configs"]:
        # Debian's promtool is built without Kubernetes; all but the discovery itself can be checked.
        if scrape.pop("kubernetes_sd_configs", None):
            scrape["static_configs"] = [{"targets": ["pod:9100"]}]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    command = [tool("promtool"), "check", "config", "--syntax-only", str(tmp_path / "prometheus.yml")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_metric_in_an_expression_exists() -> None:
    known = declared().keys() | OF_EXPORTERS.keys() | {rule["record"] for rule in rules("recording.yml")}
    used = expressions()
    assert len(used) > 50
    unknown = {(where, name) for where, text in used for name in names_in(text) - known}
    assert unknown == set()


def test_every_label_in_an_expression_exists() -> None:
    known = {label for labels in declared().values() for label in labels}
    known |= {
        "job",
        "exported_job",
        "instance",
        "alertstate",
        "fstype",
        "mountpoint",
        "namespace",
        "cronjob",
    }  # Prometheus' and the exporters'
    for where, text in expressions():
        selected = set(re.findall(r"[{,]\s*(\w+)\s*(?:=~|!~|!=|=)", text))
        grouped = {
            name.strip() for group in re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", text) for name in group.split(",")
        }
        assert selected | grouped <= known, where


def broken_by() -> dict[str, str]:
    """By alert, the modules with a test that causes its fault for real (`@pytest.mark.breaks`), without the marks."""
    found: dict[str, str] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
        marks = [
            mark
            for function in functions
            for mark in function.decorator_list
            if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.breaks"
        ]
        bare = text
        for mark in marks:
            bare = bare.replace(ast.get_source_segment(text, mark) or "", "")
        for alert in (ast.literal_eval(argument) for mark in marks for argument in mark.args):
            found[alert] = found.get(alert, "") + bare
    return found


def test_every_alert_has_a_test_that_causes_its_fault_for_real() -> None:
    broken = broken_by()
    assert broken.keys() == alerts().keys(), "mark the test with @pytest.mark.breaks(ALERT)"
    recorded = {rule["record"]: rule["expr"] for rule in rules("recording.yml")}
    constants = {
        metric._name: constant for constant, metric in vars(metrics).items() if isinstance(metric, MetricWrapperBase)
    }
    for alert, rule in alerts().items():
        if f'"{alert}"' in broken[alert]:
            continue  # it asks Prometheus for the alert itself
        for name in {name for outer in names_in(rule["expr"]) for name in names_in(recorded.get(outer, outer))}:
            constant = constants.get(re.sub(r"_(total|bucket|count|sum)$", "", name), name)
            assert re.search(rf"\b({name}|{constant})\b", broken[alert]), f"{alert}: no test of it looks at {name}"


def test_every_alert_has_a_chapter_in_the_runbook() -> None:
    runbook = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
    chapters = re.split(r"^## ", runbook, flags=re.MULTILINE)[1:]
    by_title = {chapter.partition("\n")[0]: chapter for chapter in chapters}
    assert by_title.keys() == alerts().keys()
    for name, alert in alerts().items():
        page, _, anchor = alert["annotations"]["runbook_url"].rpartition("/")[2].partition("#")
        assert page == "runbook.md"
        assert anchor in anchors(runbook)
        assert anchor == name.lower()
        assert all(part in by_title[name] for part in ("**Means.**", "**Look.**", "**Do.**")), name
        assert alert["labels"]["severity"] in ("critical", "warning")


def test_the_runbook_names_only_metrics_that_exist() -> None:
    runbook = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
    named = {name for name in re.findall(r"`([a-z_]+)`", runbook) if name.endswith(("_total", "_seconds", "_events"))}
    whole = declared().keys() | {name.removesuffix("_count") for name in declared()}
    assert named - whole == set()
