"""Rates from a CSV file: what changes is shown first, then all of it is put in force, or nothing."""

from __future__ import annotations

import html
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from apps.console.models import Act
from apps.sms.models import Rate
from conftest import MakeCustomer
from smsgateway import ids
from tests.console.conftest import Person, told

PAGE = "/admin/console/rates/import/"


def upload(client: Client, text: str | bytes, **form: str) -> Any:
    content = text if isinstance(text, bytes) else text.encode()
    return client.post(PAGE, {"file": SimpleUploadedFile("rates.csv", content), **form})


def confirm(client: Client, shown: Any) -> Any:
    """What the button of the preview sends."""
    form = {"state": shown.context["comparison"].state, "text": shown.context["text"]}
    return client.post(PAGE, form | {"replace": str(shown.context["replace"])})


def rates() -> dict[str, int]:
    return {f"{rate.customer.name if rate.customer else ''}{rate.prefix}": rate.price for rate in Rate.objects.all()}


def test_the_changes_are_shown_and_put_in_force(person: Person, make_customer: MakeCustomer) -> None:
    customer_id = make_customer(name="Bazaar")
    for prefix, price in (("98", 50), ("44", 70), ("1", 9)):
        Rate.objects.create(prefix=prefix, price=price)
    administrator = person("Administrator")
    text = f"prefix,price,customer\r\n+98,60,\r\n44,70,\r\n,5,{ids.to_text(customer_id)}\r\n"
    shown = upload(administrator, text)
    assert shown.context["told"] == "1 added, 1 changed, 0 removed, 1 as before"
    assert [shown.context["table"]["rows"][0][column] for column in (0, 3, 4)] == ["98", "50", "60"]
    assert rates() == {"98": 50, "44": 70, "1": 9}
    assert "Imported" in told(confirm(administrator, shown))
    assert rates() == {"98": 60, "44": 70, "1": 9, "Bazaar": 5}
    act = Act.objects.get()
    assert (act.act, act.subject) == ("rate.import", shown.context["told"])
    assert ["", "98", 50, 60] in act.details["changes"]


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffprefix,price\r\n98,60\r\n44,70\r\n",
        "prefix;price;customer\r\n98;60;\r\n44;70;\r\n",
        "\ufeffprefix\tprice\n98\t60\n44\t70\n",
        "prefix,price\r98,60\r44,70\r",
        ' Prefix , Price \n" 98 ", 60 \n\n"44",70',
        "prefix,price\n\u200e+۹۸\u200f,60\n\u00a044\u00a0,70\n",
    ],
)
def test_a_spreadsheets_file_is_taken_as_it_writes_it(person: Person, text: str) -> None:
    administrator = person("Administrator")
    confirm(administrator, upload(administrator, text))
    assert rates() == {"98": 60, "44": 70}


def test_a_file_that_is_too_long_is_refused_with_one_line(person: Person) -> None:
    lines = "".join(f"98{number:06},10\n" for number in range(100_000))
    errors = upload(person("Administrator"), f"prefix,price\n{lines}").context["form"].errors["file"]
    assert errors == ["There are more than 20,000 rates. Split the file."]


def test_the_longest_file_comes_through_the_confirmation(person: Person, make_customer: MakeCustomer) -> None:
    customer = ids.to_text(make_customer())
    lines = "".join(f'"98{number:06}","{number}","{customer}"\r\n' for number in range(20_000))
    administrator = person("Administrator")
    shown = upload(administrator, f"prefix,price,customer\r\n{lines}")
    assert shown.context["told"] == "20,000 added, 0 changed, 0 removed, 0 as before"
    assert "Imported" in told(confirm(administrator, shown))
    assert Rate.objects.count() == 20_000


def test_what_the_file_does_not_name_is_removed_on_request_of_those_it_names(
    person: Person, make_customer: MakeCustomer
) -> None:
    customer_id = make_customer(name="Bazaar")
    Rate.objects.create(prefix="98", price=50)
    Rate.objects.create(prefix="44", price=70)
    Rate.objects.create(prefix="44", price=7, customer_id=customer_id)
    administrator = person("Administrator")
    shown = upload(administrator, "prefix,price\n98,50\n", replace="on")
    assert shown.context["told"] == "0 added, 0 changed, 1 removed, 1 as before"
    confirm(administrator, shown)
    assert rates() == {"98": 50, "Bazaar44": 7}


def test_rates_that_were_changed_meanwhile_are_not_overwritten(person: Person) -> None:
    administrator = person("Administrator")
    shown = upload(administrator, "prefix,price\n98,50\n")
    Rate.objects.create(prefix="44", price=1)
    assert "changed since you looked" in told(confirm(administrator, shown))
    assert rates() == {"44": 1}
    assert not Act.objects.exists()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "must name the columns"),
        ("prefix;price,\n98;5\n", "must name the columns"),
        ("prefix,price,colour\n98,5,red\n", "must name the columns"),
        ("prefix,price\n", "no rate in it"),
        ("prefix,price\n98,5\n98x,6\n", "Line 3: the prefix '98x'"),
        (
            "prefix,price\n98,5\n0912,6\n",
            "Line 3: the prefix '0912' matches no number: none of E.164 begins with 0; write 98912",
        ),
        ("prefix,price\n00989,6\n", "write 989"),
        ("prefix,price\n98,5\n\u200e+۹۸,6\n", "Line 3: the same prefix and customer as in line 2"),
        ("prefix,price\n98,5.5\n", "Line 2: the price '5.5'"),
        ("prefix,price\n98,-5\n", "Line 2: the price '-5'"),
        ("prefix,price\n98,100000000001\n", "Line 2: the price"),
        ("prefix,price\n98,5\n+98,6\n", "Line 3: the same prefix and customer as in line 2"),
        ("prefix,price\n98\n", "Line 2: it has more or fewer fields"),
        ("prefix,price\n98,5,6\n", "Line 2: it has more or fewer fields"),
        ("prefix,price,customer\n98,5,nobody\n", "Line 2: the customer 'nobody'"),
        ("prefix,price,customer\n98,5,01M85WEX1V5DRSABARX08QE0G2\n", "No customer has the id"),
        (b"prefix,price\n\xff\xfe,5\n", "not UTF-8"),
        ('prefix,price\n"98,5\n', "Line"),
    ],
)
def test_a_wrong_file_is_told_and_changes_nothing(person: Person, text: str | bytes, complaint: str) -> None:
    answered = upload(person("Administrator"), text)
    errors = html.unescape(answered.context["form"].errors.as_text())
    assert complaint in errors or (text == "" and "empty" in errors)
    assert not Rate.objects.exists()


def test_a_crafted_confirmation_is_read_as_carefully(person: Person) -> None:
    administrator = person("Administrator")
    answered = administrator.post(PAGE, {"state": "x", "text": "prefix,price\n98,-5\n", "replace": "True"})
    assert "Nothing was imported" in told(answered)
    assert person("Finance").post(PAGE, {"state": "x", "text": "prefix,price\n98,5\n"}).status_code == 403
    assert not Rate.objects.exists()
