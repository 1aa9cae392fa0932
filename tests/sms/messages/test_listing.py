"""`GET /v1/sms` and `GET /v1/customers/{id}/transactions`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings
from django.db import connection
from rest_framework.test import APIClient

from apps.balance.selectors import ledger_list
from apps.sms.accept.drafts import Draft
from apps.sms.accept.service import messages_accept
from apps.sms.messages.selectors import list_query
from apps.sms.models import StatusEntry
from smsgateway import ids
from smsgateway.http.paging import Page
from tests.support.customers import MakeCustomer

Post = Callable[..., Any]
DRAFT = Draft("+989121234567", "", "hello", "gsm7", 1, 100, 1_900_000_000_000)


def accept(customer_id: UUID, *drafts: Draft) -> list[str]:
    accepted = messages_accept(customer_id=customer_id, drafts=drafts, config=settings.CONFIG)
    return [ids.to_text(message_id) for message_id in accepted.message_ids]


def record(message_id: str, status: str, *, refund: int = 0) -> None:
    StatusEntry.objects.create(
        message_id=ids.from_text(message_id),
        status=status,
        at=dt.datetime.now(tz=dt.UTC),
        operator="mci",
        operator_message_id="",
        error="",
        attempt=1,
        refund=refund,
    )


def listed(api: APIClient, customer_id: UUID, **filters: Any) -> list[str]:
    response = api.get("/v1/sms", {"customer_id": ids.to_text(customer_id)} | filters)
    assert response.status_code == 200, response.content
    return [message["id"] for message in response.json()["messages"]]


def test_pages_bring_every_message_once_the_newest_first(make_customer: MakeCustomer, api: APIClient) -> None:
    customer_id, other = make_customer(), make_customer()
    sent = accept(customer_id, *[DRAFT] * 7)
    accept(other, DRAFT)
    found: list[str] = []
    cursor: dict[str, str] = {}
    pages = 0
    while True:
        answer = api.get("/v1/sms", {"customer_id": ids.to_text(customer_id), "limit": "3"} | cursor).json()
        found += [message["id"] for message in answer["messages"]]
        pages += 1
        accept(customer_id, DRAFT)  # what comes meanwhile moves no page
        if answer["next_cursor"] is None:
            break
        cursor = {"cursor": answer["next_cursor"]}
    assert found == sent[::-1]
    assert pages == 3


def test_filters_choose(make_customer: MakeCustomer, api: APIClient) -> None:
    customer_id = make_customer()
    later = int(dt.datetime.now(tz=dt.UTC).timestamp() * 1000) + 3_600_000
    plain, other_number, referred, scheduled = accept(
        customer_id,
        DRAFT,
        DRAFT._replace(recipient="+989351234567"),
        DRAFT._replace(reference="order 7", metadata={"campaign": "9"}),
        DRAFT._replace(send_at=later),
    )
    record(plain, "submitted")
    record(plain, "undelivered", refund=100)
    record(other_number, "delivered")
    record(other_number, "submitted")
    assert listed(api, customer_id, status="undelivered") == [plain]
    assert listed(api, customer_id, status="delivered") == [other_number]
    assert listed(api, customer_id, status="submitted") == []
    assert listed(api, customer_id, status="accepted") == [referred]
    assert listed(api, customer_id, status="scheduled") == [scheduled]
    assert listed(api, customer_id, reference="order 7") == [referred]
    by_reference = api.get("/v1/sms", {"customer_id": ids.to_text(customer_id), "reference": "order 7"}).json()
    assert by_reference["messages"][0]["metadata"] == {"campaign": "9"}
    assert listed(api, customer_id, recipient="09351234567") == [other_number]
    for written in ("\u200e+989351234567", "\u202a0935 123 4567\u202c\n", "۰۹۳۵\u00a0۱۲۳۴۵۶۷"):
        assert listed(api, customer_id, recipient=written) == [other_number]
    assert listed(api, customer_id, recipient="+989351234567", status="accepted") == []
    now = dt.datetime.now(tz=dt.UTC)
    assert listed(api, customer_id, **{"to": (now - dt.timedelta(hours=1)).isoformat()}) == []
    assert len(listed(api, customer_id, **{"from": (now - dt.timedelta(hours=1)).isoformat()})) == 4
    told = api.get("/v1/sms", {"customer_id": ids.to_text(customer_id), "status": "undelivered"}).json()["messages"][0]
    assert (told["status"], told["refunded"], told["cost"], told["text"]) == ("undelivered", 100, 100, "hello")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"customer_id": "x"}, {("customer_id", "invalid")}),
        ({"status": "lost"}, {("status", "invalid")}),
        ({"recipient": "021"}, {("recipient", "invalid_number")}),
        ({"reference": "a\x00"}, {("reference", "invalid")}),
        ({"limit": "501"}, {("limit", "invalid")}),
        ({"limit": "-1"}, {("limit", "invalid")}),
        ({"cursor": "nonsense"}, {("cursor", "invalid")}),
        ({"cursor": "é"}, {("cursor", "invalid")}),
        ({"from": "2026-01-01", "to": "2026-06-01"}, {("from", "range_too_long")}),
        ({"from": "2026-01-02", "to": "2026-01-01"}, {("from", "invalid")}),
        ({"from": "2026-01-01T00:00:00"}, {("from", "no_offset")}),
        ({"colour": "red"}, {("colour", "unknown")}),
    ],
)
def test_each_wrong_parameter_is_named(
    make_customer: MakeCustomer, api: APIClient, given: dict[str, str], expected: set[tuple[str, str]]
) -> None:
    response = api.get("/v1/sms", {"customer_id": ids.to_text(make_customer())} | given)
    assert response.status_code == 400
    assert {(error["field"], error["code"]) for error in response.json()["errors"]} == expected


def test_a_list_is_of_one_customer(db: None, api: APIClient) -> None:
    missing = api.get("/v1/sms")
    assert [(error["field"], error["code"]) for error in missing.json()["errors"]] == [("customer_id", "missing")]
    unknown = api.get("/v1/sms", {"customer_id": ids.to_text(ids.new_id())})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "customer_not_found")


def test_transactions_are_told_in_the_accounts_order(make_customer: MakeCustomer, api: APIClient) -> None:
    customer_id = make_customer(balance=1000)
    [message_id] = accept(customer_id, DRAFT)
    accept(customer_id, *[DRAFT] * 3)
    path = f"/v1/customers/{ids.to_text(customer_id)}/transactions"
    first = api.get(path, {"limit": "3"}).json()
    rest = api.get(path, {"limit": "3", "cursor": first["next_cursor"]}).json()
    assert rest["next_cursor"] is None
    found = first["transactions"] + rest["transactions"]
    assert [entry["entry"] for entry in found] == [5, 4, 3, 2, 1]
    assert [entry["balance_after"] for entry in found] == [600, 700, 800, 900, 1000]
    assert (found[3]["kind"], found[3]["amount"], found[3]["message_id"]) == ("charge", -100, message_id)
    assert found[4]["reference"] == "first"
    top_ups = api.get(path, {"kind": "topup"}).json()["transactions"]
    assert [entry["amount"] for entry in top_ups] == [1000]
    assert api.get(path, {"kind": "gift"}).status_code == 400
    assert api.get(f"/v1/customers/{ids.to_text(ids.new_id())}/transactions").status_code == 404


def nodes(query: str, parameters: object) -> list[dict[str, Any]]:
    """The nodes of a statement's plan, by running it."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON, COSTS OFF) {query}", parameters)
        [[plan]] = cursor.fetchone()
    found = [plan["Plan"]]
    for node in found:
        found += node.get("Plans", [])
    return found


def partitions_read(query: str, parameters: object) -> set[str]:
    """The partitions that a statement's plan reads."""
    return {node["Relation Name"] for node in nodes(query, parameters) if "Relation Name" in node}


def test_a_list_reads_the_partitions_of_its_range_only(make_customer: MakeCustomer) -> None:
    customer_id = make_customer()
    accept(customer_id, *[DRAFT] * 5)
    today = dt.datetime.now(tz=dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    day = Page(today, today + dt.timedelta(days=1), 50, None)
    suffix = today.strftime("%Y%m%d")
    query, parameters = list_query(customer_id=customer_id, page=day, status="accepted")
    found = partitions_read(query, parameters)
    assert found == {f"sms_message_{suffix}", f"sms_statusentry_{suffix}"}
    found = partitions_read(*ledger_list(customer_id=customer_id, page=day).query.sql_with_params())
    assert found == {f"balance_ledgerentry_{suffix}"}


def test_the_messages_to_one_number_are_found_by_its_index(make_customer: MakeCustomer) -> None:
    """Of a customer with a thousand others; with only theirs all of them would be read."""
    customer_id = make_customer(balance=10**9)
    accept(customer_id, *[DRAFT._replace(recipient=f"+98912{number:07d}") for number in range(1000)])
    today = dt.datetime.now(tz=dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    partition = f"sms_message_{today:%Y%m%d}"
    day = Page(today, today + dt.timedelta(days=1), 50, None)
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE {partition}")
        cursor.execute(
            "SELECT child.relname FROM pg_inherits JOIN pg_class AS child ON child.oid = inhrelid"
            " JOIN pg_index ON indexrelid = inhrelid"
            " WHERE inhparent = 'sms_message_recipient'::regclass AND indrelid = %s::regclass",
            [partition],
        )
        [index] = cursor.fetchone()
    query, parameters = list_query(customer_id=customer_id, page=day, recipient="+989120000007")
    reading = [node for node in nodes(query, parameters) if node.get("Relation Name", "").startswith("sms_message")]
    assert [(node["Relation Name"], node.get("Index Name")) for node in reading] == [(partition, index)]
    assert reading[0]["Actual Rows"] == 1
    assert reading[0].get("Rows Removed by Filter", 0) == 0


@pytest.mark.parametrize("path", ["/v1/sms?customer_id={}&status=accepted", "/v1/customers/{}/transactions"])
def test_a_list_is_planned_for_its_own_customer_and_range(
    api: APIClient, make_customer: MakeCustomer, path: str
) -> None:
    customer_id = make_customer()
    accept(customer_id, DRAFT)
    table = "sms_message" if "sms" in path else "balance_ledgerentry"
    with connection.cursor() as cursor:
        cursor.execute("DEALLOCATE ALL")
        cursor.execute("SET LOCAL plan_cache_mode = force_generic_plan")  # what PostgreSQL may come to by itself
        for _ in range(3):
            assert api.get(path.format(ids.to_text(customer_id))).status_code == 200
        cursor.execute(
            "SELECT sum(generic_plans), sum(custom_plans) FROM pg_prepared_statements"
            " WHERE statement LIKE %s AND statement LIKE '%%DESC%%LIMIT%%'",
            [f"%{table}%"],
        )
        assert cursor.fetchone() == (0, 2)  # a statement is prepared at its second use
