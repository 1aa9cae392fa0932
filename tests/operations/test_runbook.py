"""The runbook as somebody on call follows it: its commands are known, its SQL runs, and what it says to do helps."""

from __future__ import annotations

import re
from io import StringIO
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from apps.balance.selectors import accounts_off
from smsgateway import ids
from smsgateway.partition_names import days_of
from smsgateway.partitions import names
from tests.support.customers import MakeCustomer
from tests.support.manifests import of_kind, overlay
from tests.support.pages import accepted_by_manage
from tests.support.tools import ROOT

RUNBOOK = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
CHAPTERS = {chapter.partition("\n")[0]: chapter for chapter in re.split(r"^## ", RUNBOOK, flags=re.MULTILINE)[1:]}


def sql_of(chapter: str) -> list[str]:
    return re.findall(r"^```sql\n(.*?)^```", CHAPTERS[chapter], re.MULTILINE | re.DOTALL)


def commands_of(chapter: str) -> list[list[str]]:
    """What follows `manage.py` in the chapter, as far as it is whole."""
    return [told.split() for told in re.findall(r"`manage\.py ([^`…]+)`", CHAPTERS[chapter])]


def run(*command: str) -> str:
    out = StringIO()
    call_command(*command, stdout=out)
    return out.getvalue()


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_command_is_known(chapter: str) -> None:
    customer = ids.to_text(ids.new_id())
    for command in commands_of(chapter):
        accepted_by_manage([word.replace("CUSTOMER", customer).replace("PLACE", "0:1") for word in command])


def test_every_deployment_that_is_named_is_there() -> None:
    named = set(re.findall(r"\bdeployment/([a-z]+)", RUNBOOK))
    assert named
    assert named <= of_kind(overlay("production"), "Deployment").keys()


@pytest.mark.django_db
@pytest.mark.parametrize("chapter", [chapter for chapter in CHAPTERS if sql_of(chapter)])
def test_every_statement_runs(chapter: str, make_customer: MakeCustomer) -> None:
    for block in sql_of(chapter):
        follow(block, make_customer())


def follow(block: str, customer: UUID) -> None:
    """Run a block's statements. BEGIN and COMMIT are of the connection here."""
    text = re.sub(r"^(BEGIN|COMMIT);\n", "", block, flags=re.MULTILINE).replace("'…'", f"'{customer}'")
    with transaction.atomic(), connection.cursor() as cursor:
        for statement in filter(str.strip, text.split(";\n")):
            cursor.execute(statement.rstrip(";\n").replace("%", "%%"))


@pytest.mark.django_db
def test_an_account_is_brought_back_to_its_ledger(make_customer: MakeCustomer) -> None:
    customer, other = make_customer(balance=500), make_customer(balance=70)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE balance_account SET balance = balance + 1, entries = 9 WHERE customer_id = %s", [customer]
        )
    assert [off.customer_id for off in accounts_off()] == [customer]
    follow(sql_of("LedgerMismatch")[-1], customer)
    assert accounts_off() == []
    with connection.cursor() as cursor:
        cursor.execute("SELECT customer_id, balance FROM balance_account")
        assert dict(cursor.fetchall()) == {customer: 500, other: 70}


@pytest.mark.django_db
def test_partitions_ahead_are_made_by_what_the_chapter_says() -> None:
    look, apply, again = commands_of("PartitionsAhead")
    run(*apply)
    newest = sorted(names("sms_message"), key=lambda name: days_of(name, table="sms_message"))
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE {', '.join(newest[3:])}")
    with pytest.raises(CommandError, match=r"sms_message has partitions for [012] days ahead"):
        run(*look)
    run(*apply)
    run(*again)


def test_an_id_is_shown_in_both_forms() -> None:
    value = ids.new_id()
    told = run("show_id", ids.to_text(value), str(value)).splitlines()
    assert told[0] == told[1]
    assert told[0].split()[:2] == [ids.to_text(value), str(value)]
    assert told[0].endswith(ids.moment(value).isoformat(timespec="seconds"))
    with pytest.raises(CommandError, match="neither"):
        run("show_id", "17")
