"""k8s/: what the overlays build is valid, complete and no more open than said."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from django.core.management import get_commands

from smsgateway import config
from tests.support.compose import made
from tests.support.manifests import DEPLOYMENTS, Manifest, of_kind, overlay, pod, with_components
from tests.support.tools import ROOT

KUBERNETES = "1.33"
OVERLAYS = ("staging", "production")
HTTP_SERVICES = {"api", "reporting", "admin"}
OF_OTHERS = {"ScaledObject"}  # KEDA's own: its schema is not among Kubernetes'
NAME, COMPONENT = "app.kubernetes.io/name", "app.kubernetes.io/component"


def complaints(manifests: list[Manifest]) -> list[str]:
    found = []
    for manifest in manifests:
        if manifest["kind"] in OF_OTHERS:
            continue
        try:
            kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
        except kubernetes_validate.ValidationError as error:
            found.append(f"{manifest['kind']} {manifest['metadata']['name']}: {error.path}: {error.message}")
    return found


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_manifest_is_valid(name: str) -> None:
    assert complaints(overlay(name)) == []


def test_every_component_is_valid(tmp_path: Path) -> None:
    manifests = with_components(tmp_path, "postgres", "kafka", "clickhouse", "keda", "relay-shards")
    assert complaints(manifests) == []
    assert {"postgres", "kafka", "clickhouse", "relay-shard"} == of_kind(manifests, "StatefulSet").keys()
    assert "relay" not in of_kind(manifests, "Deployment"), "with shards there is no relay of all customers besides"
    scaled, by_hpa = of_kind(manifests, "ScaledObject"), of_kind(manifests, "HorizontalPodAutoscaler")
    assert scaled.keys() == {"deliver", "settle", "ingest"}
    assert not scaled.keys() & by_hpa.keys()


def test_rules_and_dashboard_reach_the_cluster_unchanged(tmp_path: Path) -> None:
    maps = of_kind(with_components(tmp_path, "../monitoring"), "ConfigMap")
    rules = ROOT / "monitoring" / "rules" / "alerts.yml"
    assert maps["smsgateway-rules"]["data"]["alerts.yml"] == rules.read_text(encoding="utf-8")
    assert maps["smsgateway-dashboard"]["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert complaints(list(maps.values())) == []


def test_a_wrong_manifest_is_found() -> None:
    """So that the tests above mean something."""
    wrong = yaml.safe_load(yaml.safe_dump(of_kind(overlay("production"), "Deployment")["api"]))
    wrong["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"] = 5
    assert complaints([wrong])
    assert complaints([{**wrong, "spec": {"replicaz": 1}}])


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_process_is_deployed_and_known(name: str) -> None:
    manifests = overlay(name)
    deployments = of_kind(manifests, "Deployment")
    assert deployments.keys() - {"redis", "operators"} == DEPLOYMENTS
    known = HTTP_SERVICES | {"prepare"} | get_commands().keys()
    for manifest in (*deployments.values(), *of_kind(manifests, "Job", "CronJob").values()):
        for container in pod(manifest)["containers"]:
            if "smsgateway" in container["image"]:
                assert container["args"][0] in known, manifest["metadata"]["name"]


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_container_has_its_size_its_probes_and_no_more_rights_than_it_needs(name: str) -> None:
    manifests = overlay(name)
    for manifest in of_kind(manifests, "Deployment", "StatefulSet", "Job", "CronJob").values():
        whose, spec = manifest["metadata"]["name"], pod(manifest)
        assert spec["securityContext"]["runAsNonRoot"], whose
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, whose
        assert spec["automountServiceAccountToken"] is False, whose
        for container in spec["containers"]:
            rights = container["securityContext"]
            assert rights["allowPrivilegeEscalation"] is False, whose
            assert rights["capabilities"] == {"drop": ["ALL"]}, whose
            assert {"cpu", "memory"} == container["resources"]["requests"].keys(), whose
            assert {"cpu", "memory"} == container["resources"]["limits"].keys(), whose
            if "smsgateway" in container["image"]:
                assert rights["readOnlyRootFilesystem"], whose
                assert spec["enableServiceLinks"] is False, "a Service named kafka would set KAFKA_… for us"
            if manifest["kind"] in ("Deployment", "StatefulSet"):
                assert {"readinessProbe", "livenessProbe"} <= container.keys(), whose


def test_the_images_of_production_have_exact_versions() -> None:
    images = {
        container["image"]
        for manifest in of_kind(overlay("production"), "Deployment", "StatefulSet", "Job", "CronJob").values()
        for container in pod(manifest)["containers"]
    }
    assert [image for image in images if ":" not in image or image.endswith(":latest")] == []


def test_replicated_processes_keep_one_pod_during_maintenance() -> None:
    manifests = overlay("production")
    copies = {name for name, found in of_kind(manifests, "Deployment").items() if found["spec"]["replicas"] > 1}
    budgets = of_kind(manifests, "PodDisruptionBudget")
    assert copies == budgets.keys()
    scaled = of_kind(manifests, "HorizontalPodAutoscaler")
    assert copies == scaled.keys()
    for worker in ("deliver", "settle", "ingest"):
        (metric,) = scaled[worker]["spec"]["metrics"]
        assert metric["external"]["metric"]["name"] == "watch_consumer_lag_events"
        assert metric["external"]["metric"]["selector"]["matchLabels"] == {"process": worker}
        assert scaled[worker]["spec"]["maxReplicas"] <= int(settings_of("production")["KAFKA_PARTITIONS"])


def test_only_the_api_is_exposed() -> None:
    manifests = overlay("production")
    paths = [
        (path["path"], path["backend"]["service"]["name"])
        for ingress in of_kind(manifests, "Ingress").values()
        for rule in ingress["spec"]["rules"]
        for path in rule["http"]["paths"]
    ]
    assert paths == [("/v1/", "api"), ("/docs", "api")]
    assert {service["spec"].get("type", "ClusterIP") for service in of_kind(manifests, "Service").values()} == {
        "ClusterIP"
    }
    policies = of_kind(manifests, "NetworkPolicy")
    assert policies["deny-all"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    let_in = {
        (name, peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"])
        for name, policy in policies.items()
        for rule in policy["spec"].get("ingress", [])
        for peer in rule["from"]
        if "namespaceSelector" in peer
    }
    assert let_in == {("api-from-ingress", "ingress-nginx"), ("metrics-to-prometheus", "monitoring")}


def test_jobs_of_the_clock() -> None:
    jobs = of_kind(overlay("production"), "CronJob")
    assert jobs["partitions"]["spec"]["schedule"] == "0 2 * * *"
    assert {"partitions", "reconcile", "purge"} == jobs.keys()
    for job in jobs.values():
        assert job["spec"]["timeZone"] == "Etc/UTC"
        assert job["spec"]["concurrencyPolicy"] == "Forbid"


def settings_of(name: str) -> dict[str, str]:
    (found,) = of_kind(overlay(name), "ConfigMap").values()
    data: dict[str, str] = found["data"]
    return data


@pytest.mark.parametrize("name", OVERLAYS)
def test_all_settings_are_known_and_only_secrets_are_missing(name: str) -> None:
    settings = settings_of(name)
    assert settings.keys() <= {declared for _, _, declared, _, _ in config.declarations()}
    assert settings["API_KEYS"] == "required"
    given = made("try")
    secrets = {
        "SECRET_KEY": given["SECRET_KEY"],
        "DATABASE_URL": f"postgres://gateway:{given['POSTGRES_PASSWORD']}@db:5432/gateway",
        "CLICKHOUSE_URL": f"clickhouse://gateway:{given['CLICKHOUSE_PASSWORD']}@clickhouse:9000/gateway",
        # A bucket of one's own: the overlay of production has no default.
        "PARTITION_ARCHIVE": "s3://archive/smsgateway?region=eu-central-1",
    }
    operators = {name: value for name, value in given.items() if name.startswith("OPERATOR_")}
    if name == "production":
        urls = {"OPERATOR_MCI_URL": "https://mci.example", "OPERATOR_IRANCELL_URL": "https://irancell.example"}
        assert config.load(secrets | settings)[1] == [], "no operator is needed to start"
        assert config.load(secrets | settings | operators)[1] != [], "a simulator is no operator"
        operators |= urls
    assert config.load(secrets | operators | settings)[1] == []
    for key in secrets:
        left = {name: value for name, value in (secrets | operators | settings).items() if name != key}
        assert name == "staging" or config.load(left)[1] != [], key
    page = (ROOT / "docs" / "howto" / "deploy.md").read_text(encoding="utf-8")
    assert [variable for variable in secrets if variable not in page] == []
    assert "`OPERATOR_…_RECEIPT_TOKEN`" in page


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_process_is_scraped_on_the_metrics_port_alone(name: str) -> None:
    manifests = overlay(name)
    for process in DEPLOYMENTS:
        template = of_kind(manifests, "Deployment")[process]["spec"]["template"]
        assert template["metadata"]["annotations"]["prometheus.io/port"] == "9100", process
        ports = template["spec"]["containers"][0]["ports"]
        assert {"name": "metrics", "containerPort": 9100} in [
            {key: port[key] for key in ("name", "containerPort")} for port in ports
        ], process
    (rule,) = of_kind(manifests, "NetworkPolicy")["metrics-to-prometheus"]["spec"]["ingress"]
    assert rule["ports"] == [{"port": 9100}]


def test_nothing_new_starts_before_the_schema_is_migrated(tmp_path: Path) -> None:
    """The deployment's steps, with a kubectl that only records its arguments, and with one whose Job fails."""
    built_overlay = yaml.safe_dump_all(overlay("production"))
    (tmp_path / "built").write_text(built_overlay)
    fake = tmp_path / "kubectl"
    fake.write_text(
        f'#!/bin/sh\necho "$@" >>{tmp_path}/calls\ncase "$*" in\n'
        f"kustomize*) cat {tmp_path}/built ;;\n"
        '*wait*) [ -z "${FAIL:-}" ] ;;\n'
        "*get\\ deployment*) echo deployment.apps/api ;;\nesac\n"
    )
    fake.chmod(0o755)

    def deploy(**environ: str) -> tuple[int, list[str]]:
        (tmp_path / "calls").unlink(missing_ok=True)
        path = f"{tmp_path}:{os.environ['PATH']}"
        command = [ROOT / "scripts" / "deploy.sh", "production"]
        code = subprocess.run(command, env=os.environ | environ | {"PATH": path}, capture_output=True).returncode
        return code, (tmp_path / "calls").read_text().splitlines()

    code, steps = deploy()
    assert code == 0
    order = [
        next(number for number, step in enumerate(steps) if part in step)
        for part in (
            "delete job prepare",
            "=before",
            "component=prepare",
            "wait --for",
            "component!=prepare",
            "rollout status",
        )
    ]
    assert order == sorted(order)
    assert all("--namespace smsgateway " in f"{step} " for step in steps if "wait --for" in step or "rollout" in step)

    code, steps = deploy(FAIL="yes")
    assert code != 0
    assert not any("component!=prepare" in step for step in steps)


def test_what_the_job_needs_is_applied_before_it() -> None:
    before = [
        found for found in overlay("staging") if found["metadata"].get("labels", {}).get("app.kubernetes.io/stage")
    ]
    kinds = {found["kind"] for found in before}
    assert {"Namespace", "ServiceAccount", "ConfigMap", "NetworkPolicy", "StatefulSet", "Service"} <= kinds
    assert "Job" not in kinds
    assert of_kind(before, "StatefulSet").keys() == {"postgres", "kafka", "clickhouse"}
    assert of_kind(before, "Deployment").keys() == {"redis"}
