"""The Postman collection works with its variables alone: newman runs all of it against a running gateway."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from apps.sms.models import Callback, Message
from smsgateway import ids
from tests.support.openapi_tools import require
from tests.support.served_api import Served
from tests.support.tools import ROOT

pytestmark = [pytest.mark.flow, pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]

COLLECTION = ROOT / "docs" / "smsgateway.postman_collection.json"


def newman(folder: Path, **variables: str) -> dict[str, Any]:
    """What newman reports of a run with these variables."""
    report = folder / "newman.json"
    given = [part for name, value in variables.items() for part in ("--env-var", f"{name}={value}")]
    command = ["newman", "run", str(COLLECTION), *given, "--reporters", "json", "--reporter-json-export", str(report)]
    subprocess.run(command, env=require("node"), cwd=folder, capture_output=True, text=True)
    return dict(json.loads(report.read_text())["run"])


def requests_of(items: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for item in items:
        if "item" in item:
            yield from requests_of(item["item"])
        else:
            yield item


def failures(found: dict[str, Any]) -> list[str]:
    return [f"{failure['source']['name']}: {failure['error']['message']}" for failure in found["failures"]]


@pytest.mark.parametrize(("served", "has_key"), [("required", True), ("optional", False)], indirect=["served"])
def test_every_request_of_the_collection_succeeds(served: Served, has_key: bool, tmp_path: Path) -> None:
    variables = {"api_key": served.key} if has_key else {}
    customer = ids.to_text(served.customer_id)
    found = newman(tmp_path, base_url=served.url, customer_id=customer, receipt_token="token-of-the-test", **variables)
    assert failures(found) == []
    items = list(requests_of(json.loads(COLLECTION.read_text())["item"]))
    assert len(found["executions"]) == len(items) == found["stats"]["assertions"]["total"]
    # two single ones, a batch of one and one to two recipients
    assert Message.objects.filter(customer_id=served.customer_id).count() == 5
    assert Callback.objects.filter(customer_id=served.customer_id, event=Callback.TEST).count() == 1
    if has_key:
        refused = newman(tmp_path, base_url=served.url, customer_id=customer, api_key="sgw_no")
        assert len(failures(refused)) == len(refused["executions"]) == len(items)
