"""Money in the report for people: major units with the currency's decimals; in the JSON minor units."""

from __future__ import annotations

import datetime as dt

import pytest

from apps.balance.selectors import AccountOff
from apps.reconciliation.report import as_data, lines
from apps.reconciliation.service import Report
from smsgateway import ids


@pytest.mark.parametrize(
    ("currency", "shown"), [("IRR", "12,345.67 IRR"), ("JPY", "1,234,567 JPY"), ("KWD", "1,234.567 KWD")]
)
def test_accounts_that_differ_are_shown_in_major_units(currency: str, shown: str) -> None:
    today = dt.date(2026, 11, 30)
    report = Report(today, today)
    report.accounts.append(AccountOff(ids.new_id(), 1_234_567, 3, 0, 2))
    assert f"balance {shown}" in "\n".join(lines(report, currency=currency))
    assert as_data(report)["accounts"][0]["balance"] == 1_234_567
