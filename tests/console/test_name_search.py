"""Customers found by a part of their name, with PostgreSQL's pg_trgm and without."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from apps.customers.models import Customer
from smsgateway import ids
from tests.support.console import Person
from tests.support.customers import MakeCustomer

LIST = "/admin/customers/customer/"
# The statement of the migration, which takes the extension where it may.
MAKE = importlib.import_module("apps.customers.migrations.0006_contacts_and_search").Migration.operations[-1].sql


def ask(statement: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else None


def found(client: Client, part: str) -> list[str]:
    """The names of the customers in the list."""
    return [customer.name for customer in client.get(LIST, {"q": part}).context["cl"].result_list]


def search_plan(client: Client, part: str) -> str:
    """The plan of the list's statement, made for this part."""
    with CaptureQueriesContext(connection) as captured:
        client.get(LIST, {"q": part})
    [listed] = [each["sql"] for each in captured if "UPPER(" in each["sql"] and "LIMIT" in each["sql"]]
    return "\n".join(row[0] for row in ask(f"EXPLAIN {listed}"))


@pytest.fixture
def with_index(db: None) -> None:
    if not ask("SELECT 1 FROM pg_available_extensions WHERE name = 'pg_trgm'"):
        pytest.skip("this PostgreSQL has no pg_trgm; the one of CI has it")
    ask("DROP INDEX IF EXISTS customer_name_parts")
    ask(MAKE)


@pytest.fixture
def without_index(db: None) -> None:
    ask("DROP INDEX IF EXISTS customer_name_parts")


def _customers(make_customer: MakeCustomer) -> None:
    for name in ("Bazaar of Tehran", "GRAND BAZAAR", "فروشگاه بازار", "50% off_shop", "Other"):
        make_customer(name=name)


def _check(client: Client) -> None:
    assert found(client, "azaa") == ["Bazaar of Tehran", "GRAND BAZAAR"]
    assert found(client, "بازار") == ["فروشگاه بازار"]
    assert found(client, "% o") == ["50% off_shop"]
    assert found(client, "f_s") == ["50% off_shop"]
    assert found(client, "f s") == []
    assert found(client, "Ba") == ["Bazaar of Tehran", "GRAND BAZAAR"]


def test_without_the_extension_every_name_is_looked_at(
    without_index: None, person: Person, make_customer: MakeCustomer
) -> None:
    _customers(make_customer)
    _check(person("Support"))


def test_with_the_extension_a_part_of_a_name_is_found_by_its_index(
    with_index: None, person: Person, make_customer: MakeCustomer
) -> None:
    _customers(make_customer)
    support = person("Support")
    _check(support)
    Customer.objects.bulk_create(
        Customer(id=ids.new_id(), name=f"Customer {number}", segments_per_second=1) for number in range(5000)
    )
    ask("DROP INDEX customer_name_parts")
    ask(MAKE)  # built at once: what was added since the last vacuum is looked through row by row
    ask("ANALYZE customers_customer")
    plan = search_plan(support, "azaar")
    assert "customer_name_parts" in plan, plan


def test_where_the_extension_may_not_be_used_the_migration_goes_on(db: None) -> None:
    """As where it is not there: the statement takes nothing, and fails nothing."""
    if not ask("SELECT 1 FROM pg_available_extensions WHERE name = 'pg_trgm'"):
        ask(MAKE)
        assert ask("SELECT to_regclass('customer_name_parts')") == [(None,)]
        return
    ask("DROP EXTENSION IF EXISTS pg_trgm CASCADE")
    ask("CREATE ROLE smsgateway_may_little")
    ask("GRANT CREATE ON SCHEMA public TO smsgateway_may_little")
    ask("SET LOCAL ROLE smsgateway_may_little")
    ask(MAKE)
    ask("RESET ROLE")
    assert ask("SELECT to_regclass('customer_name_parts')") == [(None,)]
