"""Exports rates as CSV, and imports them: parses a file, compares it with the rates in force, and replaces those in one
transaction.

The name of the price column says its unit: `price_major`, beside `currency` (60 is 60.00 IRR), or `price_minor` (60 is
0.60 IRR). Files of earlier versions have `price`, which still means minor units.
"""

from __future__ import annotations

import csv
import functools
import hashlib
import io
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Q

from apps.customers.models import Customer
from apps.sms import numbers
from apps.sms.models import MAX_PRICE, Rate
from smsgateway import ids, money

MOST_ROWS: Final = 20_000
_MINOR: Final = frozenset(["price_minor", "price"])
_PRICES: Final = _MINOR | {"price_major"}
_COLUMNS: Final = _PRICES | {"prefix", "currency", "customer"}
EXPORTED: Final = ("prefix", "price_major", "currency", "customer")
_MAX_ERRORS: Final = 20

Key = tuple[UUID | None, str]  # the customer (None: all customers), and the prefix


class InvalidRatesFile(Exception):
    """The file cannot be imported; `errors` says why, line by line"""

    def __init__(self, errors: list[str]) -> None:
        super().__init__("; ".join(errors))
        self.errors = errors


class RatesChanged(Exception):
    """The rates were changed since they were compared"""


class Change(NamedTuple):
    """How one rate changes. Prices are minor units a segment; None: no rate before, or none after."""

    customer_id: UUID | None
    prefix: str
    before: int | None
    after: int | None


class Comparison(NamedTuple):
    """What a file would change, and how many rates it leaves `unchanged`. `state`: a hash of the rates in force."""

    changes: list[Change]
    unchanged: int
    state: str


def rates_write(*, currency: str) -> str:
    """All rates in force as CSV. `rates_parse` reads the same rates from it."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(EXPORTED)
    for customer_id, prefix, price in sorted(_rates(), key=lambda rate: (rate[0] is not None, str(rate[0]), rate[1])):
        owner = "" if customer_id is None else ids.to_text(customer_id)
        writer.writerow([prefix, money.for_input(price, currency), currency, owner])
    return text.getvalue()


def prices_in_minor(text: str) -> bool:
    """True if the name of the file's price column means minor units."""
    first = text.lstrip("\ufeff").splitlines()[:1]
    names = next(csv.reader(first, delimiter=_delimiter(text)), []) if first else []
    return any(name.strip().lower() in _MINOR for name in names)


def rates_parse(text: str, *, currency: str) -> dict[Key, int]:
    """The rates in a CSV text. Its columns: prefix, one price column, and optionally customer (an id; empty: all).

    `price_major` needs the column currency, which must be `currency` in every line. As spreadsheets write it, fields
    may be separated by semicolons or tabs; prices may then have a decimal comma. Raises InvalidRatesFile that names
    every wrong line.
    """
    text = text.lstrip("\ufeff")
    delimiter = _delimiter(text)
    read_price = functools.partial(_price, currency=currency, decimal_comma=delimiter != ",")
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    errors: list[str] = []
    found: dict[Key, int] = {}
    lines: dict[Key, int] = {}
    try:
        given = [name.strip().lower() for name in reader.fieldnames or []]
        if wrong := _column_error(given):
            raise InvalidRatesFile([wrong])
        reader.fieldnames = given
        for row in reader:
            key, price, wrong = _row(row, read_price)
            if wrong:
                errors.append(f"Line {reader.line_num}: {wrong}")
            elif key in lines:
                errors.append(f"Line {reader.line_num}: the same prefix and customer as in line {lines[key]}.")
            else:
                lines[key], found[key] = reader.line_num, price
            if len(lines) > MOST_ROWS:
                errors.append(f"There are more than {MOST_ROWS:,} rates. Split the file.")
                break
            if len(errors) >= _MAX_ERRORS:
                break
    except csv.Error as error:
        errors.append(f"Line {reader.line_num}: {error}")
    if not errors:
        errors = _unknown_customers(lines)
    if not errors and not found:
        errors = ["The file has no rates."]
    if errors:
        raise InvalidRatesFile(errors)
    return found


def _delimiter(text: str) -> str:
    """The character that separates the names of the columns."""
    first = text.partition("\n")[0]
    return next((found for found in ";\t" if found in first and "," not in first), ",")


def _column_error(given: list[str]) -> str:
    """What is wrong with the first line; empty if nothing is."""
    names = set(given)
    if "prefix" not in names or len(names & _PRICES) != 1 or names - _COLUMNS or len(names) != len(given):
        return (
            "The first line must name the columns: prefix,price_major,currency (price_major 60 is 60 whole units) or"
            " prefix,price_minor (60 is 60 minor units); and customer, if some rates are a customer's own."
        )
    if "price_major" in names and "currency" not in names:
        return "A file with price_major needs the column currency, so that no price is read in another currency."
    return ""


def _row(row: dict[str, str], read_price: Callable[[dict[str, str]], tuple[int, str]]) -> tuple[Key, int, str]:
    nothing: Key = (None, "")
    if None in row or None in row.values():
        return nothing, 0, "it has more or fewer fields than the first line."
    prefix, customer = (str(row.get(name, "")).strip() for name in ("prefix", "customer"))
    try:
        prefix = numbers.plan_of(settings.CONFIG.sms).to_prefix(prefix)
    except numbers.InvalidPrefix as reason:
        return nothing, 0, f"the prefix {reason}."
    price, wrong = read_price(row)
    if wrong:
        return nothing, 0, wrong
    try:
        return (ids.from_text(numbers.without_marks(customer)) if customer else None, prefix), price, ""
    except ValueError:
        return nothing, 0, f"the customer {customer!r} is not an id of 26 characters."


def _price(row: dict[str, str], *, currency: str, decimal_comma: bool) -> tuple[int, str]:
    """The price in minor units, or what is wrong with it."""
    name = next(name for name in row if name in _PRICES)
    text, named = row[name].strip(), row.get("currency", currency).strip().upper()
    if named != currency:
        return 0, f"the currency {named!r} is not {currency}, the currency of all rates (SMS_CURRENCY)."
    if name in _MINOR:
        if text.isascii() and text.isdigit() and len(text) <= 12 and int(text) <= MAX_PRICE:
            return int(text), ""
        hint = f"a whole number of minor units up to {MAX_PRICE}. A column price_major has prices in {currency}."
        return 0, f"the price {text!r} is not {hint}"
    try:
        price = money.read(text, currency, decimal_comma=decimal_comma)
    except money.InvalidMoney as error:
        return 0, f"the price {text!r} is not an amount. {error}"
    if text.startswith(("-", "+", "\u2212")) or not 0 <= price <= MAX_PRICE:
        return 0, f"the price {text!r} is not between 0 and {money.with_currency(MAX_PRICE, currency)}."
    return price, ""


def _unknown_customers(lines: dict[Key, int]) -> list[str]:
    named = {customer_id for customer_id, _ in lines if customer_id is not None}
    known = set(Customer.objects.filter(id__in=named).values_list("id", flat=True))
    missing = sorted(named - known)
    return [f"No customer has the id {ids.to_text(customer_id)}." for customer_id in missing[:_MAX_ERRORS]]


def rates_compare(wanted: dict[Key, int], *, replace: bool) -> Comparison:
    """What importing these rates would change. `replace`: also remove the same customers' rates that are not named."""
    now = {(customer_id, prefix): price for customer_id, prefix, price in _rates()}
    owners = {customer_id for customer_id, _ in wanted}
    changes = [Change(*key, before=now.get(key), after=price) for key, price in wanted.items() if now.get(key) != price]
    if replace:
        gone = [key for key in now if key[0] in owners and key not in wanted]
        changes += [Change(*key, before=now[key], after=None) for key in gone]
    changes.sort(key=lambda change: (change.customer_id is not None, str(change.customer_id), change.prefix))
    kept = sum(now.get(key) == price for key, price in wanted.items())
    return Comparison(changes, kept, _state(now.items()))


@transaction.atomic
def rates_apply(wanted: dict[Key, int], *, replace: bool, state: str) -> Comparison:
    """Put these rates in force, all or none. `state`: of the comparison that a person confirmed.

    Raises RatesChanged if the rates have changed since. Charges use the new rates after SMS_RATES_REFRESH seconds.
    """
    with connection.cursor() as cursor:
        cursor.execute("LOCK TABLE sms_rate IN SHARE ROW EXCLUSIVE MODE")  # blocks writers, not readers
    comparison = rates_compare(wanted, replace=replace)
    if comparison.state != state:
        raise RatesChanged
    gone = [change for change in comparison.changes if change.after is None]
    for change in gone:
        whose = Q(customer=None) if change.customer_id is None else Q(customer_id=change.customer_id)
        Rate.objects.filter(whose, prefix=change.prefix).delete()
    Rate.objects.bulk_create(
        [
            Rate(customer_id=change.customer_id, prefix=change.prefix, price=change.after)
            for change in comparison.changes
            if change.after is not None
        ],
        update_conflicts=True,
        unique_fields=["customer", "prefix"],
        update_fields=["price"],
        batch_size=2000,
    )
    return comparison


def _rates() -> Iterable[tuple[UUID | None, str, int]]:
    return Rate.objects.values_list("customer_id", "prefix", "price")


def _state(rates: Iterable[tuple[Key, int]]) -> str:
    lines = sorted(f"{customer_id} {prefix} {price}" for (customer_id, prefix), price in rates)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
