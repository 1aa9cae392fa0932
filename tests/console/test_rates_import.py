"""Rates from a CSV file: the changes are shown first, then all of them take effect together, or none."""

from __future__ import annotations

import dataclasses
import html
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from apps.console.models import Act
from apps.sms.models import MAX_PRICE, Rate
from smsgateway import ids
from tests.support.console import Person, shown_messages
from tests.support.customers import MakeCustomer

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


def test_the_changes_are_shown_and_applied(person: Person, make_customer: MakeCustomer) -> None:
    customer_id = make_customer(name="Bazaar")
    for prefix, price in (("98", 50), ("44", 70), ("1", 9)):
        Rate.objects.create(prefix=prefix, price=price)
    administrator = person("Administrator")
    text = f"prefix,price,customer\r\n+98,60,\r\n44,70,\r\n,5,{ids.to_text(customer_id)}\r\n"
    shown = upload(administrator, text)
    assert shown.context["summary"] == "1 added, 1 changed, 0 removed, 1 unchanged"
    row = shown.context["table"]["rows"][0]
    assert row[0] == "98"
    assert "0.50 IRR" in row[3]
    assert "0.60 IRR" in row[4]
    assert b"The price column of this file has minor units: 60 is 0.60 IRR" in shown.content
    assert rates() == {"98": 50, "44": 70, "1": 9}
    assert "Imported" in shown_messages(confirm(administrator, shown))
    assert rates() == {"98": 60, "44": 70, "1": 9, "Bazaar": 5}
    act = Act.objects.get()
    assert (act.act, act.subject) == ("rate.import", shown.context["summary"])
    assert ["98 for everybody", "0.50 IRR", "0.60 IRR"] in act.details["changes"]
    assert [f"all numbers for Bazaar ({ids.to_text(customer_id)})", "", "0.05 IRR"] in act.details["changes"]


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
    assert shown.context["summary"] == "20,000 added, 0 changed, 0 removed, 0 unchanged"
    assert "Imported" in shown_messages(confirm(administrator, shown))
    assert Rate.objects.count() == 20_000


def test_rates_missing_in_the_file_are_removed_on_request_for_the_customers_it_has(
    person: Person, make_customer: MakeCustomer
) -> None:
    customer_id = make_customer(name="Bazaar")
    Rate.objects.create(prefix="98", price=50)
    Rate.objects.create(prefix="44", price=70)
    Rate.objects.create(prefix="44", price=7, customer_id=customer_id)
    administrator = person("Administrator")
    shown = upload(administrator, "prefix,price\n98,50\n", replace="on")
    assert shown.context["summary"] == "0 added, 0 changed, 1 removed, 1 unchanged"
    confirm(administrator, shown)
    assert rates() == {"98": 50, "Bazaar44": 7}


def test_rates_that_were_changed_meanwhile_are_not_overwritten(person: Person) -> None:
    administrator = person("Administrator")
    shown = upload(administrator, "prefix,price\n98,50\n")
    Rate.objects.create(prefix="44", price=1)
    assert "changed since your review" in shown_messages(confirm(administrator, shown))
    assert rates() == {"44": 1}
    assert not Act.objects.exists()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "must name the columns"),
        ("prefix;price,\n98;5\n", "must name the columns"),
        ("prefix,price,colour\n98,5,red\n", "must name the columns"),
        ("prefix,price_minor,price_major,currency\n98,5,5,IRR\n", "must name the columns"),
        ("prefix,price_major\n98,5\n", "needs the column currency"),
        ("prefix,price_major,currency\n98,5,EUR\n", "Line 2: the currency 'EUR' is not IRR"),
        ("prefix,price_major,currency\n98,5,\n", "Line 2: the currency '' is not IRR"),
        ("prefix,price_minor,currency\n98,5,EUR\n", "Line 2: the currency 'EUR' is not IRR"),
        ("prefix,price_major,currency\n98,1.000,IRR\n", "read as 1.00 IRR or as 1,000.00 IRR"),
        ('prefix,price_major,currency\n98,"1,000",IRR\n', "read as 1.00 IRR or as 1,000.00 IRR"),
        ("prefix;price_major;currency\n98;1,000;IRR\n", "read as 1.00 IRR or as 1,000.00 IRR"),
        ("prefix,price_major,currency\n98,0.005,IRR\n", "Line 2: the price '0.005' is not an amount"),
        ("prefix,price_major,currency\n98,-0,IRR\n", "Line 2: the price '-0' is not between 0 and"),
        ("prefix,price_major,currency\n98,1000000000.01,IRR\n", "is not between 0 and 1,000,000,000.00 IRR"),
        ("prefix,price_major,currency\n98,1e3,IRR\n", "Line 2: the price '1e3'"),
        ("prefix,price_major,currency\n98,NaN,IRR\n", "Line 2: the price 'NaN'"),
        ("prefix,price_major,currency\n98,,IRR\n", "Line 2: the price ''"),
        ("prefix,price\n98,0.60\n", "Line 2: the price '0.60' is not a whole number of minor units"),
        ("prefix,price\n", "has no rates"),
        ("prefix,price\n98,5\n98x,6\n", "Line 3: the prefix '98x'"),
        (
            "prefix,price\n98,5\n0912,6\n",
            "Line 3: the prefix '0912' matches no number, because no E.164 number begins with 0; write 98912",
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
def test_a_wrong_file_is_refused_with_its_errors_and_changes_nothing(
    person: Person, text: str | bytes, complaint: str
) -> None:
    answered = upload(person("Administrator"), text)
    errors = html.unescape(answered.context["form"].errors.as_text())
    assert complaint in errors or (text == "" and "empty" in errors)
    assert not Rate.objects.exists()


def test_a_crafted_confirmation_is_read_as_carefully(person: Person) -> None:
    administrator = person("Administrator")
    answered = administrator.post(PAGE, {"state": "x", "text": "prefix,price\n98,-5\n", "replace": "True"})
    assert "Nothing was imported" in shown_messages(answered)
    assert person("Finance").post(PAGE, {"state": "x", "text": "prefix,price\n98,5\n"}).status_code == 403
    assert not Rate.objects.exists()


@pytest.mark.parametrize(
    "text",
    [
        "prefix,price_minor\n98,60\n44,125050\n",
        "prefix,price_major,currency\n98,0.60,IRR\n44,1250.5,irr\n",
        'prefix,price_major,currency\n98,0.6,IRR\n44,"1,250.50",IRR\n',
        "prefix;price_major;currency\n98;0,60;IRR\n44;1.250,50;IRR\n",
        "prefix,price_major,currency\n98,۰٫۶۰,IRR\n44,۱٬۲۵۰٫۵۰,IRR\n",
    ],
)
def test_the_columns_name_says_the_unit_of_the_price(person: Person, text: str) -> None:
    administrator = person("Administrator")
    shown = upload(administrator, text)
    assert "console/rates_preview.html" in [template.name for template in shown.templates], shown.context["form"].errors
    assert (b"The price column of this file has minor units" in shown.content) == ("minor" in text)
    confirm(administrator, shown)
    assert rates() == {"98": 60, "44": 125_050}


@pytest.mark.parametrize("currency", ["IRR", "JPY", "KWD", "CLF"])
def test_an_exported_file_imported_again_changes_nothing(
    person: Person, make_customer: MakeCustomer, settings: Any, currency: str
) -> None:
    sms = dataclasses.replace(settings.CONFIG.sms, currency=currency)
    settings.CONFIG = dataclasses.replace(settings.CONFIG, sms=sms)
    customer_id = make_customer(name="Bazaar")
    for number, price in enumerate((0, 1, 60, 999, 1000, 1001, 10_000, 125_050, 1_234_567, MAX_PRICE)):
        Rate.objects.create(prefix=f"98{number}", price=price)
        Rate.objects.create(prefix=f"98{number}" if number else "", price=price + 1 - number, customer_id=customer_id)
    before = rates()
    administrator = person("Administrator")
    exported = administrator.get("/admin/console/rates/export/")
    assert exported["Content-Disposition"] == 'attachment; filename="rates.csv"'
    shown = upload(administrator, exported.content, replace="on")
    assert shown.context["summary"] == "0 added, 0 changed, 0 removed, 20 unchanged"
    Rate.objects.all().delete()
    confirm(administrator, upload(administrator, exported.content))
    assert rates() == before


def test_a_file_in_another_currency_is_refused_after_the_currency_was_changed(person: Person, settings: Any) -> None:
    Rate.objects.create(prefix="98", price=60)
    administrator = person("Administrator")
    exported = administrator.get("/admin/console/rates/export/").content
    sms = dataclasses.replace(settings.CONFIG.sms, currency="JPY")
    settings.CONFIG = dataclasses.replace(settings.CONFIG, sms=sms)
    errors = html.unescape(upload(administrator, exported).context["form"].errors.as_text())
    assert "the currency 'IRR' is not JPY" in errors


def test_a_rate_is_shown_and_edited_in_major_units(person: Person) -> None:
    administrator = person("Administrator")
    administrator.post("/admin/sms/rate/add/", {"prefix": "98", "customer": "", "price_major": "0.60"})
    rate = Rate.objects.get()
    assert rate.price == 60
    assert b"0.60 IRR" in administrator.get("/admin/sms/rate/").content
    assert b'value="0.60"' in administrator.get(f"/admin/sms/rate/{rate.pk}/change/").content
    assert b"0.60 IRR" in person("Support").get(f"/admin/sms/rate/{rate.pk}/change/").content
    for wrong in ("1.000", "0.605", "-1", "1e3", "", "1000000000.01"):
        refused = administrator.post(f"/admin/sms/rate/{rate.pk}/change/", {"prefix": "98", "price_major": wrong})
        assert refused.context["adminform"].form.errors["price_major"], wrong
    # A page that an earlier version made, still open after the upgrade: its price is in minor units.
    stale = administrator.post(f"/admin/sms/rate/{rate.pk}/change/", {"prefix": "98", "customer": "", "price": "70"})
    assert stale.context["adminform"].form.errors["price_major"]
    assert Rate.objects.get().price == 60
