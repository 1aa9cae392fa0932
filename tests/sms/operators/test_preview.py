"""What settings make of a pasted answer or receipt, in the command and for the console."""

from __future__ import annotations

import dataclasses
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from prometheus_client import REGISTRY

from apps.sms.operators.preview import answer_preview, receipt_preview
from smsgateway import config
from tests.support.smpp import SETTINGS
from tests.support.smpp_receipts import deliver_pdu


def described(**settings: str) -> config.HttpOperator:
    given = {"url": "http://127.0.0.1:9/{recipient}", "receipt_token": "long-enough"} | settings
    loaded, _ = config.load(
        {"OPERATORS_HTTP": "rightel"} | {f"OPERATOR_RIGHTEL_{name.upper()}": value for name, value in given.items()}
    )
    return loaded.http_operators["rightel"]


@pytest.mark.parametrize(
    "pasted",
    [
        "id:77 stat:UNDELIV err:5",
        b"id:77 stat:UNDELIV err:5",
        deliver_pdu("id:77 stat:UNDELIV err:5"),
        deliver_pdu("id:77 stat:UNDELIV err:5").hex(),
        deliver_pdu("id:77 stat:UNDELIV err:5").hex(" ").upper(),
    ],
)
def test_a_receipt_over_smpp(pasted: str | bytes) -> None:
    (reading,) = receipt_preview(SETTINGS, pasted)
    facts = dict(reading.facts)
    assert (facts["operator_message_id"], facts["status"], facts["error"]) == ("77", "undelivered", "5")
    assert (reading.reason, reading.hint) == ("", "")


def test_a_receipt_that_is_not_read_shows_its_parts_and_the_setting() -> None:
    (reading,) = receipt_preview(SETTINGS, deliver_pdu("id:77 stat:WHO", id=b"77\0").hex())
    facts = dict(reading.facts)
    assert facts["text"] == "id:77 stat:WHO"
    assert facts["parameter 0x001E"] == "373700 (77)"
    assert reading.hint == "RECEIPT_STATUSES=WHO=…"
    (reading,) = receipt_preview(dataclasses.replace(SETTINGS, receipt_statuses=["WHO=expired"]), "id:77 stat:WHO")
    assert dict(reading.facts)["status"] == "expired"


@pytest.mark.parametrize("pasted", ["00", "0000001000000005", "", "Hello"])
def test_what_is_no_receipt_is_shown_as_that(pasted: str) -> None:
    (reading,) = receipt_preview(SETTINGS, pasted)
    assert reading.reason


def test_receipts_over_http() -> None:
    found = receipt_preview(
        described(), '[{"id": 1, "status": "DELIVRD"}, {"id": 2, "status": "WHO"}, {"status": "ENROUTE"}]'
    )
    assert [dict(reading.facts).get("status") for reading in found] == [
        "delivered",
        "It must be one of DELIVRD, UNDELIV, EXPIRED, REJECTD, ENROUTE.",
        "ignored",
    ]
    assert found[1].hint == "RECEIPT_STATUSES=WHO=…"
    (reading,) = receipt_preview(described(), b"", query="id=1&status=expired")
    assert dict(reading.facts)["status"] == "expired"
    (reading,) = receipt_preview(described(), "no document")
    assert reading.reason


def unreadable_answers() -> float:
    return sum(
        sample.value
        for metric in REGISTRY.collect()
        if metric.name == "delivery_unreadable_answers"
        for sample in metric.samples
        if sample.name.endswith("_total")
    )


def test_answers_over_http_without_counting_them() -> None:
    before = unreadable_answers()
    settings = described(code_path="code", throttled="20", transient="30")
    assert dict(answer_preview(settings, b'{"code": 0, "id": "x1"}').facts) == {
        "outcome": "accepted",
        "operator_message_id": "x1",
    }
    assert dict(answer_preview(settings, b'{"code": 20}').facts)["outcome"] == "throttled"
    assert dict(answer_preview(settings, b'{"code": 30}').facts)["outcome"] == "tried again"
    assert dict(answer_preview(settings, b'{"code": 40}').facts) == {"outcome": "refused", "code": "40"}
    assert answer_preview(settings, b"<html>").reason == "its id cannot be read (no_document)"
    assert unreadable_answers() == before


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("try_receipt", *arguments, stdout=out)
    return out.getvalue()


def test_the_command_tries_changed_settings(settings: Any) -> None:
    settings.CONFIG = dataclasses.replace(settings.CONFIG, smpp_operators={"shatel": SETTINGS})
    text = ["shatel", "--text", "id:77 stat:WHO"]
    assert "NOT READ: its status 'WHO' is not known\nSET: RECEIPT_STATUSES=WHO=…" in run(*text)
    assert "status: delivered\n" in run(*text, "--set", "RECEIPT_STATUSES=WHO=delivered")
    with pytest.raises(CommandError, match=r"RECEIPT_IDS is 'octal', not one of"):
        run(*text, "--set", "RECEIPT_IDS=octal")
    with pytest.raises(CommandError, match="NOTHING is no setting"):
        run(*text, "--set", "NOTHING=1")
    with pytest.raises(CommandError, match="nobody is not one of"):
        run("nobody", "--text", "x")
