"""Fixtures of all tests."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import hypothesis
import pytest
from django.db import connection
from rest_framework.test import APIClient

from apps.balance.services import account_top_up, prepaid_customer_create
from smsgateway.config.settings import Balance
from tests.support.customers import MakeCustomer

# A busy machine is no fault of what is tested.
hypothesis.settings.register_profile("any_machine", deadline=None)
hypothesis.settings.load_profile("any_machine")


@pytest.fixture
def make_customer(db: None) -> MakeCustomer:
    """Create a customer with a balance (minor units) and a pace (segments a second); its id."""

    def make(*, balance: int = 1_000_000, pace: int = 100, name: str = "Customer") -> UUID:
        customer = prepaid_customer_create(name=name, segments_per_second=pace, currency="IRR")
        if balance:
            account_top_up(customer_id=customer.id, amount=balance, reference="first")
        return customer.id

    return make


@pytest.fixture
def api() -> APIClient:
    """A client of the API that sends JSON."""
    return APIClient(raise_request_exception=False)


@pytest.fixture
def post(api: APIClient) -> Callable[..., Any]:
    """POST a JSON document (or raw bytes) and return the response."""

    def post(path: str, body: Any, **headers: str) -> Any:
        if isinstance(body, bytes):
            return api.generic("POST", path, body, content_type="application/json", headers=headers)
        return api.post(path, body, format="json", headers=headers)

    return post


@pytest.fixture(params=["row", "advisory"])
def each_lock(request: pytest.FixtureRequest, settings: Any) -> None:
    """Run the test with either of the two locks that a charge may take."""
    settings.CONFIG = dataclasses.replace(settings.CONFIG, balance=Balance(lock=request.param))


@pytest.fixture(autouse=True)
def _empty_partitioned_tables(request: pytest.FixtureRequest) -> Iterator[None]:
    """Tests that commit leave nothing: Django's flush passes over the tables that our own SQL makes."""
    yield
    marker = request.node.get_closest_marker("django_db")
    commits = marker is not None and marker.kwargs.get("transaction")
    if commits or "transactional_db" in request.fixturenames:
        database = request.getfixturevalue("django_db_blocker")
        with database.unblock(), connection.cursor() as cursor:
            cursor.execute(
                "TRUNCATE sms_message, sms_statusentry, sms_outboxentry, sms_scheduledentry, sms_submittedpart,"
                " sms_waitingreceipt, sms_receiptnote, balance_ledgerentry, balance_closing;"
                # A row that a migration made, and that must be there: how far settlement has looked for late receipts.
                " UPDATE sms_receiptsweep SET position = '00000000-0000-0000-0000-000000000000'"
            )
