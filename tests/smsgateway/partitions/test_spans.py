from __future__ import annotations

import datetime as dt

import pytest

from smsgateway.partitions.spans import days_of


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("sms_message_20261124", "2026-11-24", "2026-11-24"),
        ("sms_message_202602", "2026-02-01", "2026-02-28"),
        ("sms_message_202612", "2026-12-01", "2026-12-31"),
        ("sms_message_20261101_20261107", "2026-11-01", "2026-11-07"),
    ],
)
def test_a_name_is_read_as_its_days(name: str, first: str, last: str) -> None:
    assert days_of(name, table="sms_message") == (dt.date.fromisoformat(first), dt.date.fromisoformat(last))
