"""Top-ups and adjustments by hand: booked once whatever is pressed, by those alone who may, never below zero."""

from __future__ import annotations

import datetime as dt
import re
import secrets
import threading
from typing import Any
from uuid import UUID

import pytest
from django.core import signing
from django.test import Client

from apps.balance.models import Account, LedgerEntry
from apps.balance.selectors import accounts_off
from apps.balance.statement import statement
from apps.console.models import Act
from apps.console.pages import money as money_pages
from smsgateway import ids
from smsgateway.partitions import create
from tests.support.console import Person, shown_messages, token_of
from tests.support.customers import MakeCustomer


def page(customer_id: UUID, name: str) -> str:
    return f"/admin/console/customers/{ids.to_text(customer_id)}/{name}/"


def review(client: Client, customer_id: UUID, form: dict[str, str], name: str = "topup") -> dict[str, str]:
    """Fill the form in; what the confirmation's button sends."""
    shown = client.post(page(customer_id, name), form)
    assert shown.status_code == 200
    assert "token" in shown.context, shown.context["form"].errors.as_text()
    return form | {"token": token_of(shown)}


def balance(customer_id: UUID) -> int:
    return Account.objects.get(customer_id=customer_id).balance


def test_a_top_up_shows_the_balance_before_and_after_and_is_booked_when_confirmed(
    person: Person, make_customer: MakeCustomer
) -> None:
    customer_id = make_customer(balance=1050)
    finance = person("Finance")
    form = {"amount": "1,000.50", "reference": "INV-7"}
    shown = finance.post(page(customer_id, "topup"), form)
    assert [shown.context[name] for name in ("balance", "amount", "after", "currency")] == [
        "10.50",
        "1,000.50",
        "1,011.00",
        "IRR",
    ]
    assert balance(customer_id) == 1050
    done = finance.post(page(customer_id, "topup"), form | {"token": token_of(shown)})
    assert shown_messages(done) == "1,000.50 IRR booked. The balance is 1,011.00 IRR."
    entry = LedgerEntry.objects.filter(customer_id=customer_id).latest("entry")
    assert (entry.kind, entry.amount, entry.balance_after, entry.reference) == ("topup", 100_050, 101_100, "INV-7")
    act = Act.objects.get()
    assert (act.user_name, act.act, act.customer_id, act.why) == ("finance", "balance.topup", customer_id, "INV-7")
    assert act.details == {
        "changes": [["balance", "10.50 IRR", "1,011.00 IRR"]],
        "entry_id": str(entry.id),
        "amount": 100_050,
        "balance_after": 101_100,
    }


@pytest.mark.parametrize("name", ["topup", "adjust"])
def test_change_leads_from_the_review_back_to_what_was_filled_in(
    person: Person, make_customer: MakeCustomer, name: str
) -> None:
    customer_id = make_customer(balance=0)
    finance = person("Finance")
    form = {"amount": "1,000.50", "reference": "INV-7", "reason": "goodwill <b>"}
    reviewed = finance.post(page(customer_id, name), form)
    document = reviewed.content.decode()
    inside = document[document.index('<input type="hidden" name="token"') :]
    button = re.search(r"<button[^>]*>\s*Change\s*</button>", inside[: inside.index("</form>")])
    assert button is not None
    pressed = dict(re.findall(r'(name|value)="([^"]*)"', button[0]))
    sent = form | {"token": token_of(reviewed), pressed["name"]: pressed["value"]}
    shown = finance.post(page(customer_id, name), sent)
    assert shown.status_code == 200
    filled_in = shown.context["form"]
    assert {field.name: field.value() for field in filled_in}.items() <= form.items()
    assert not filled_in.errors
    assert b'value="1,000.50"' in shown.content
    assert balance(customer_id) == 0


def test_a_confirmation_sent_twice_is_booked_once(person: Person, make_customer: MakeCustomer) -> None:
    customer_id = make_customer(balance=0)
    finance = person("Finance")
    confirmed = review(finance, customer_id, {"amount": "5", "reference": "INV-7"})
    assert "booked." in shown_messages(finance.post(page(customer_id, "topup"), confirmed))
    assert "was booked before" in shown_messages(finance.post(page(customer_id, "topup"), confirmed))
    assert balance(customer_id) == 500
    assert Act.objects.count() == 1


@pytest.mark.parametrize("name", ["topup", "adjust"])
def test_a_confirmation_that_an_earlier_version_made_books_nothing(
    person: Person, make_customer: MakeCustomer, name: str
) -> None:
    """Its token is the id of a ledger entry, of whose booking there by the earlier version no form has a record."""
    customer_id = make_customer(balance=0)
    token = money_pages.token_make(f"balance.{name}", customer_id)
    form = {"amount": "5", "reference": "INV-7", "reason": "goodwill", "token": token}
    assert "booked nothing" in shown_messages(person("Finance").post(page(customer_id, name), form))
    assert balance(customer_id) == 0


@pytest.mark.parametrize("name", ["topup", "adjust"])
def test_what_is_confirmed_after_midnight_belongs_to_the_new_month(
    person: Person, make_customer: MakeCustomer, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    midnight = dt.datetime(2026, 4, 1, tzinfo=dt.UTC)
    minute = dt.timedelta(minutes=1)
    create(first=dt.date(2026, 3, 1), days=61, tables=["balance_ledgerentry"])
    customer_id = make_customer(balance=0)
    clock = [midnight - 5 * minute]
    monkeypatch.setattr(ids, "new_id", lambda: UUID(int=ids.lowest_id(clock[0]).int | secrets.randbits(80)))
    finance = person("Finance")
    form = {"amount": "5", "reference": "INV-7", "reason": "goodwill"}
    confirmed = review(finance, customer_id, form, name)
    for number, moment in enumerate((midnight - minute, midnight + minute), start=1):
        LedgerEntry(
            id=ids.lowest_id(moment), customer_id=customer_id, entry=number, kind="charge", amount=0, balance_after=0
        ).save(force_insert=True)
    Account.objects.filter(customer_id=customer_id).update(entries=2)
    clock[0] = midnight + 4 * minute
    assert "booked. The balance" in shown_messages(finance.post(page(customer_id, name), confirmed))
    entry = LedgerEntry.objects.get(customer_id=customer_id, entry=3)
    assert ids.moment(entry.id) == clock[0]
    march, april, may = (dt.datetime(2026, month, 1, tzinfo=dt.UTC) for month in (3, 4, 5))
    old, new = (
        statement(customer_id=customer_id, since=since, until=until) for since, until in ((march, april), (april, may))
    )
    assert (old.closing, new.opening, new.closing) == (0, 0, 500)
    assert "was booked before" in shown_messages(finance.post(page(customer_id, name), confirmed))
    assert balance(customer_id) == 500


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", ["topup", "adjust"])
def test_a_confirmation_sent_eight_times_at_once_is_booked_once(
    transactional_db: None, person: Person, make_customer: MakeCustomer, name: str
) -> None:
    customer_id = make_customer(balance=0)
    finance = person("Finance")
    form = {"amount": "5", "reference": "INV-7"} if name == "topup" else {"amount": "5", "reason": "goodwill"}
    confirmed = review(finance, customer_id, form, name)
    gate = threading.Barrier(8)
    said: list[str] = []

    def press() -> None:
        from django.db import connection

        browser = Client()
        browser.cookies = finance.cookies
        gate.wait()
        try:
            said.append(shown_messages(browser.post(page(customer_id, name), confirmed)))
        finally:
            connection.close()

    threads = [threading.Thread(target=press) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(said) == 8
    assert sum("was booked before" in text for text in said) == 7
    assert balance(customer_id) == 500
    assert LedgerEntry.objects.filter(customer_id=customer_id).count() == 1
    assert Act.objects.count() == 1


def test_a_used_confirmation_with_another_amount_books_nothing(person: Person, make_customer: MakeCustomer) -> None:
    customer_id = make_customer(balance=0)
    finance = person("Finance")
    confirmed = review(finance, customer_id, {"amount": "5", "reason": "goodwill"}, "adjust")
    finance.post(page(customer_id, "adjust"), confirmed)
    finance.post(page(customer_id, "adjust"), confirmed | {"amount": "7"})
    assert balance(customer_id) == 500


def test_a_reference_is_booked_once_for_a_customer(person: Person, make_customer: MakeCustomer) -> None:
    first, other = make_customer(balance=0), make_customer(balance=0)
    finance = person("Finance")
    form = {"amount": "5", "reference": "INV-7"}
    late = review(finance, first, form)
    finance.post(page(first, "topup"), review(finance, first, form))
    refused = finance.post(page(first, "topup"), form)
    assert "This reference was booked on" in refused.context["form"].errors["reference"][0]
    # A confirmation that was open meanwhile, in another window.
    assert "was booked before" in shown_messages(finance.post(page(first, "topup"), late))
    finance.post(page(other, "topup"), review(finance, other, form))
    assert (balance(first), balance(other)) == (500, 500)


@pytest.mark.parametrize("form", [{"amount": "9", "reference": "INV-7"}, {"amount": "5", "reference": "INV-7"}])
def test_a_token_is_valid_for_its_customer_only_and_expires(
    person: Person, make_customer: MakeCustomer, form: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, other = make_customer(balance=0), make_customer(balance=0)
    finance = person("Finance")
    token = review(finance, first, form)["token"]
    for wrong in (token, token[:-1], "", signing.dumps([str(other), str(ids.new_id())])):
        said = shown_messages(finance.post(page(other, "topup"), form | {"token": wrong}))
        assert "booked nothing" in said
    assert "expired" in shown_messages(
        finance.post(page(first, "adjust"), form | {"token": token, "reason": "goodwill"})
    )
    monkeypatch.setattr("apps.console.tokens.MAX_AGE_SECONDS", -1)
    assert "expired" in shown_messages(finance.post(page(first, "topup"), form | {"token": token}))
    assert (balance(first), balance(other)) == (0, 0)


@pytest.mark.parametrize(
    "amount",
    ["", "0", "-0", "-5", "1.005", "1.000", "1,000", "inf", "1_000", "1,00", "ten", "1e3", "99999999999999999", "NaN"],
)
def test_a_wrong_amount_is_refused(person: Person, make_customer: MakeCustomer, amount: str) -> None:
    customer_id = make_customer(balance=7)
    finance = person("Finance")
    form = {"amount": amount, "reference": "INV-7"}
    shown = finance.post(page(customer_id, "topup"), form)
    if "token" in shown.context:  # well written, and more than a balance can be
        assert "Nothing was booked" in shown_messages(
            finance.post(page(customer_id, "topup"), form | {"token": token_of(shown)})
        )
    else:
        assert shown.context["form"].errors["amount"]
    assert balance(customer_id) == 7


def test_a_top_up_needs_a_reference(person: Person, make_customer: MakeCustomer) -> None:
    customer_id = make_customer(balance=0)
    shown = person("Finance").post(page(customer_id, "topup"), {"amount": "5", "reference": "  "})
    assert shown.context["form"].errors["reference"]


def test_an_adjustment_takes_away_with_a_reason_and_never_below_zero(
    person: Person, make_customer: MakeCustomer
) -> None:
    customer_id = make_customer(balance=1000)
    finance = person("Finance")
    form = {"amount": "-4.00", "reason": "charged by mistake of ours"}
    late = review(finance, customer_id, {"amount": "-10", "reason": "taken back"}, "adjust")
    finance.post(page(customer_id, "adjust"), review(finance, customer_id, form, "adjust"))
    entry = LedgerEntry.objects.filter(customer_id=customer_id).latest("entry")
    assert (entry.kind, entry.amount, entry.reference) == ("adjustment", -400, "charged by mistake of ours")
    assert "Nothing was booked" in shown_messages(finance.post(page(customer_id, "adjust"), late))
    refused = finance.post(page(customer_id, "adjust"), {"amount": "-6.01", "reason": "too much"})
    assert "below zero" in refused.context["form"].errors["amount"][0]
    assert finance.post(page(customer_id, "adjust"), {"amount": "1", "reason": ""}).context["form"].errors["reason"]
    assert balance(customer_id) == 600
    assert not accounts_off()
    act = Act.objects.get()
    assert (act.act, act.why) == ("balance.adjust", "charged by mistake of ours")


@pytest.mark.parametrize("name", ["topup", "adjust", "low-balance"])
def test_support_can_neither_open_nor_send_what_changes_money(
    person: Person, make_customer: MakeCustomer, name: str
) -> None:
    customer_id = make_customer(balance=1000)
    support = person("Support")
    form = {"amount": "5", "reference": "INV-7", "reason": "goodwill", "threshold": "5"}
    # A token that is really good, as if a colleague had handed it over.
    token = money_pages.token_make("balance.topup" if name == "topup" else "balance.adjust", customer_id)
    assert support.get(page(customer_id, name)).status_code == 403
    assert support.post(page(customer_id, name), form).status_code == 403
    assert support.post(page(customer_id, name), form | {"token": token}).status_code == 403
    assert support.post(f"/admin/balance/account/{customer_id}/change/", {"balance": 5}).status_code == 404
    overview = support.get(f"/admin/console/customers/{ids.to_text(customer_id)}/")
    assert b"Top up" not in overview.content
    assert balance(customer_id) == 1000
    assert not Act.objects.exists()


def test_a_form_from_another_site_books_nothing(person: Person, make_customer: MakeCustomer) -> None:
    customer_id = make_customer(balance=0)
    finance = person("Finance")
    confirmed = review(finance, customer_id, {"amount": "5", "reference": "INV-7"})
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = finance.cookies
    assert strict.post(page(customer_id, "topup"), confirmed).status_code == 403
    assert balance(customer_id) == 0


def test_the_ledger_shows_each_balance_and_leads_to_messages(
    person: Person, make_customer: MakeCustomer, post: Any
) -> None:
    customer_id = make_customer(balance=1000)
    body = {"customer_id": ids.to_text(customer_id), "to": "09121234567", "text": "hi"}
    message_id = post("/v1/sms/send", body).json()["id"]
    listed = person("Finance").get(page(customer_id, "ledger"))
    rows = listed.context["table"]["rows"]
    assert len(rows) == 2
    assert "9.00 IRR" in rows[0][4]
    assert f"/admin/console/messages/{message_id}/" in rows[0][5]
    assert "first" in rows[1][5]
    only = person("Finance").get(page(customer_id, "ledger"), {"kind": "topup"})
    assert len(only.context["table"]["rows"]) == 1


def test_a_long_ledger_comes_in_pages(
    person: Person, make_customer: MakeCustomer, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer_id = make_customer(balance=0)
    finance = person("Finance")
    for number in range(53):
        money_pages.account_adjust(customer_id=customer_id, amount=number + 1, reason="a reason")
    first = finance.get(page(customer_id, "ledger"))
    second = finance.get(f"{page(customer_id, 'ledger')}?{first.context['older']}")
    numbers = [int(row[0]) for row in first.context["table"]["rows"] + second.context["table"]["rows"]]
    assert numbers == list(range(53, 0, -1))
    assert second.context["older"] == ""


def test_an_amount_that_no_balance_can_have_is_refused_before_the_confirmation(
    person: Person, make_customer: MakeCustomer
) -> None:
    customer_id = make_customer(balance=100)
    finance = person("Finance")
    for name, form in (("topup", {"reference": "INV-7"}), ("adjust", {"reason": "wrong booking"})):
        shown = finance.post(page(customer_id, name), form | {"amount": "92233720368547758.07"})
        assert shown.context["form"].errors["amount"] == ["The balance would be larger than can be stored."]
        assert review(finance, customer_id, form | {"amount": "92233720368547757.07"}, name)


def test_a_reference_that_another_tab_booked_is_shown_with_its_amount(
    person: Person, make_customer: MakeCustomer
) -> None:
    customer_id = make_customer(balance=100)
    finance = person("Finance")
    here, there = (review(finance, customer_id, {"amount": amount, "reference": "INV-7"}) for amount in ("7", "3"))
    assert "booked. The balance" in shown_messages(finance.post(page(customer_id, "topup"), there))
    done = shown_messages(finance.post(page(customer_id, "topup"), here))
    assert "Nothing was booked" in done
    assert "UTC: 3.00 IRR." in done
    assert balance(customer_id) == 400
