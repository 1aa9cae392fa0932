"""Each receipt of the table is read as it must be, by the settings that it names."""

from __future__ import annotations

import time

import pytest

from apps.sms.operators.smpp.deliveries import delivery_of
from tests.sms.operators.receipt_forms import FORMS
from tests.support.smpp_receipts import data_pdu, deliver_pdu, read, reader


def test_the_table_has_sixty_receipts() -> None:
    assert len(FORMS) >= 60


@pytest.mark.parametrize("name", FORMS)
def test_a_receipt_is_read_as_what_it_is(name: str) -> None:
    form = FORMS[name]
    found = read(form.text, settings=form.settings, **form.others)
    if found.receipt is None:
        assert (found.kind, found.hint) == (form.expected, form.hint)
        assert found.reason
        return
    assert (found.receipt.status, found.receipt.error) == (form.expected, form.error)
    assert found.receipt.operator_message_id == reader(**form.settings).submitted_id(form.answer) != ""
    assert found.kind == ("intermediate" if form.expected == "intermediate" else "receipt")


@pytest.mark.parametrize("name", [name for name, form in FORMS.items() if form.hint and "…" not in form.hint])
def test_the_hint_names_a_setting_that_reads_it(name: str) -> None:
    form = FORMS[name]
    for together in form.hint.split(" or "):
        changes = {}
        for setting in together.split(" and "):
            key, _, value = setting.partition("=")
            changes[key.lower()] = value
        assert read(form.text, settings=form.settings | changes, **form.others).receipt is not None


def test_a_receipt_in_a_data_sm() -> None:
    found = reader().read(delivery_of(data_pdu(id=b"77\0", state=b"\2")))
    assert found.receipt is not None
    assert (found.receipt.operator_message_id, found.receipt.status) == ("77", "delivered")
    found = reader().read(delivery_of(data_pdu(payload=b"id:77 stat:UNDELIV")))
    assert found.receipt is not None
    assert found.receipt.status == "undelivered"


def test_a_pdu_that_is_cut_gives_what_it_has() -> None:
    whole = deliver_pdu("id:77 stat:DELIVRD err:000", id=b"77\0", state=b"\2")
    found = reader().read(delivery_of(whole[:-3]))  # within the last parameter
    assert found.receipt is not None
    assert found.receipt.operator_message_id == "77"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2501011200", 1_735_720_200_000),
        ("250101120000", 1_735_720_200_000),
        ("20250101120000", 1_735_720_200_000),
        ("202501011200", 1_735_720_200_000),
        ("2025-01-01 12:00:00", 1_735_720_200_000),
        ("2025/01/01 12:00", 1_735_720_200_000),
        ("01-01-2025 12:00:00", 1_735_720_200_000),
        ("2025-01-01T08:30:00Z", 1_735_720_200_000),
        ("2025-01-01T12:00:00.123+0330", 1_735_720_200_000),
        ("250101120000014+", 1_735_720_200_000),
        ("20250101 120000", 1_735_720_200_000),
    ],
)
def test_a_done_date_in_any_form(written: str, expected: int) -> None:
    found = read(f"id:1 done date:{written} stat:DELIVRD", settings={"receipt_zone": "Asia/Tehran"})
    assert found.receipt is not None
    assert found.receipt.at == expected


@pytest.mark.parametrize("written", ["0000000000", "", "9999999999", "2501", "later", "0000-00-00 00:00:00"])
def test_a_date_that_is_none_is_the_time_of_arrival(written: str) -> None:
    before = time.time_ns() // 1_000_000
    found = read(f"id:1 done date:{written} stat:DELIVRD", settings={"receipt_zone": "Asia/Tehran"})
    assert found.receipt is not None
    assert found.receipt.at >= before


def test_a_date_that_names_its_zone_needs_no_setting() -> None:
    found = read("id:1 done date:2025-01-01T08:30:00Z stat:DELIVRD")
    assert found.receipt is not None
    assert found.receipt.at == 1_735_720_200_000


def test_a_count_of_seconds_is_a_date() -> None:
    now = int(time.time()) - 60
    found = read(f"id:1 done date:{now} stat:DELIVRD", settings={"receipt_zone": "Asia/Tehran"})
    assert found.receipt is not None
    assert found.receipt.at == now * 1000


def test_parameters_that_the_settings_name_are_kept() -> None:
    found = read("id:1 stat:DELIVRD", settings={"receipt_tlvs": ["0x1403"]}, t1403=b"43211", t1404=b"x")
    assert found.receipt is not None
    assert found.receipt.tlvs == {"0x1403": b"43211".hex()}
