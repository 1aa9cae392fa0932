"""HTTP_ALLOWED_HOSTS holds for every path, except that probes may use an address."""

from __future__ import annotations

from typing import Any

import pytest
from rest_framework.test import APIClient

from smsgateway.http.hosts import host_is_allowed


@pytest.fixture(autouse=True)
def hosts(settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["sms.example", ".gateway.example"]


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("sms.example", True),
        ("SMS.Example:8443", True),
        ("a.gateway.example", True),
        ("gateway.example", True),
        ("evil.example", False),
        ("sms.example.evil.example", False),
        ("10.0.0.7:8080", False),
        ("[::1]:8080", False),
        ("", False),
        ("sms.example:80:80", False),
        ("sms.example@evil.example", False),
    ],
)
def test_a_host_is_one_of_ours_or_not(host: str, allowed: bool) -> None:
    assert host_is_allowed(host) is allowed


@pytest.mark.parametrize(
    ("method", "path"),
    [("get", "/v1/sms"), ("post", "/v1/sms/send"), ("get", "/v1/openapi.json"), ("get", "/docs"), ("get", "/nowhere")],
)
def test_another_host_is_refused_with_a_problem_document(api: APIClient, method: str, path: str) -> None:
    refused = getattr(api, method)(path, headers={"Host": "evil.example"})
    assert (refused.status_code, refused["Content-Type"]) == (400, "application/problem+json")
    assert refused.json()["code"] == "unknown_host"
    assert refused.json()["request_id"] == refused["X-Request-ID"]


@pytest.mark.parametrize("host", ["10.0.0.7:8080", "evil.example", ""])
def test_a_probe_may_use_any_name(api: APIClient, host: str) -> None:
    assert api.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.django_db
def test_our_own_host_is_answered(api: APIClient) -> None:
    assert api.get("/v1/nothing", headers={"Host": "sms.example"}).json()["code"] == "not_found"
    assert api.get("/admin/login/", headers={"Host": "sms.example"}).status_code == 200
    assert api.get("/admin/login/", headers={"Host": "evil.example"}).status_code == 400
