"""What callers and operators are told of messages that are in the archive, and what late events do."""

from __future__ import annotations

import datetime as dt
from typing import Any, cast
from uuid import UUID

import pytest
from confluent_kafka import Message as KafkaMessage
from django.core.management import CommandError
from rest_framework.test import APIClient

from apps.balance.models import Account, LedgerEntry
from apps.balance.selectors import accounts_off
from apps.sms import events
from apps.sms.models import Message, OutboxEntry, StatusEntry
from apps.sms.settlement import process as settling
from smsgateway import ids
from smsgateway.models import ArchivedPartition
from tests.support.customers import MakeCustomer
from tests.support.kafka_topics import Read
from tests.support.partitions import BEFORE, LEDGER, MESSAGES, OLD, OLD_DAY, fill, rows_of, run

pytestmark = pytest.mark.usefixtures("old_partitions", "archive")


def test_an_archived_message_is_gone_with_its_date_and_found_again_once_restored(
    make_customer: MakeCustomer, api: APIClient
) -> None:
    message_id = fill(make_customer(), 3)
    path = f"/v1/sms/{ids.to_text(message_id)}"
    before = api.get(path).json()
    run("archive", MESSAGES)
    response = api.get(path)
    told = response.json()
    assert (response.status_code, told["code"]) == (410, "message_archived")
    assert told["accepted_at"].startswith(OLD_DAY.isoformat())
    archived_at = ArchivedPartition.objects.get().archived_at
    assert archived_at is not None
    assert dt.datetime.fromisoformat(told["archived_at"]) - archived_at < dt.timedelta(milliseconds=1)
    assert api.post(f"{path}/cancel").status_code == 410
    elsewhere = ids.lowest_id(OLD - dt.timedelta(days=1))
    assert api.get(f"/v1/sms/{ids.to_text(elsewhere)}").status_code == 404
    run("restore", MESSAGES)
    assert api.get(path).json() == before
    nobody = ids.lowest_id(OLD)
    assert api.get(f"/v1/sms/{ids.to_text(nobody)}").status_code == 404


def test_lists_end_where_the_archive_begins(make_customer: MakeCustomer, api: APIClient) -> None:
    customer_id = make_customer()
    fill(customer_id, 3)
    asked = {"customer_id": ids.to_text(customer_id), "from": (OLD_DAY - dt.timedelta(days=1)).isoformat()}
    asked["to"] = (OLD_DAY + dt.timedelta(days=2)).isoformat()
    assert len(api.get("/v1/sms", asked).json()["messages"]) == 3
    run("apply")
    assert api.get("/v1/sms", asked).json() == {"messages": [], "next_cursor": None}
    path = f"/v1/customers/{ids.to_text(customer_id)}/transactions"
    found = api.get(path, {"from": asked["from"], "to": asked["to"]}).json()
    assert found == {"transactions": [], "next_cursor": None}


def failed(message_id: UUID, customer_id: UUID) -> bytes:
    return events.encode(
        events.StatusChanged(
            message_id=ids.to_text(message_id),
            customer_id=ids.to_text(customer_id),
            status="failed",
            at=int(dt.datetime.now(tz=dt.UTC).timestamp() * 1000),
            operator="mci",
        )
    )


def settle(*bodies: bytes) -> dict[bytes, str]:
    unusable = settling.write(cast(list[KafkaMessage], [Read(body) for body in bodies]))
    return {cast(Any, message).body: reason for message, reason in unusable}


def test_a_late_failure_stops_nobody_and_refunds_once_after_a_restore(make_customer: MakeCustomer) -> None:
    customer_id = make_customer(balance=10_000)
    message_id = fill(customer_id, 3)
    StatusEntry.objects.filter(message_id=message_id, status="delivered").update(status="unknown")
    run("apply")
    event = failed(message_id, customer_id)
    reasons = settle(event)
    assert reasons[event] == f"archived message: restore the partition of {OLD_DAY}, then replay this"
    assert Account.objects.get().balance == 10_000 - 300
    # Its charge stays in the archive: what is given back is an entry of today.
    run("restore", MESSAGES)
    assert settle(event, event) == {}
    assert settle(event) == {}
    assert Account.objects.get().balance == 10_000 - 200
    [refund] = LedgerEntry.objects.filter(kind="refund")
    assert (refund.message_id, refund.amount, refund.entry, refund.balance_after) == (message_id, 100, 5, 9_800)
    assert not accounts_off()
    ArchivedPartition.objects.update(keep_until=dt.datetime.now(tz=dt.UTC) - dt.timedelta(minutes=1))
    with pytest.raises(CommandError, match="1 events of them stand in the outbox"):
        run("apply")
    OutboxEntry.objects.all().delete()  # as the relay does once they are published
    run("apply")
    assert settle(event)[event].startswith("archived message")
    run("restore", MESSAGES, LEDGER)
    assert settle(event) == {}
    assert LedgerEntry.objects.filter(kind="refund").count() == 1
    assert not accounts_off()


def test_an_operator_is_told_that_the_message_is_archived(make_customer: MakeCustomer, api: APIClient) -> None:
    message_id = fill(make_customer(), 1)
    run("archive", MESSAGES)
    receipt = {"reference": ids.to_text(message_id), "messageId": "1", "status": "DELIVRD", "doneAt": 1_800_000_000_000}
    response = api.post(
        "/v1/operators/mci/receipts", receipt, format="json", headers={"Authorization": "Bearer development-only"}
    )
    assert (response.status_code, response.json()["code"]) == (410, "message_archived")


def test_an_idempotent_replay_needs_no_message(
    make_customer: MakeCustomer, api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer_id = make_customer(balance=1000)
    body = {"customer_id": ids.to_text(customer_id), "to": "09121234567", "text": "hello"}
    with monkeypatch.context() as patch:
        patch.setattr(ids, "new_ids", lambda count: [ids.lowest_id(OLD)] * count)
        first = api.post("/v1/sms/send", body, format="json", headers={"Idempotency-Key": "k"}).json()
    message = Message.objects.get()
    assert message.id == ids.lowest_id(OLD) < BEFORE
    StatusEntry.objects.create(
        message_id=message.id, status="delivered", at=OLD, operator="mci", operator_message_id="", error="", attempt=1
    )
    OutboxEntry.objects.all().delete()  # as the relay does once they are published
    run("apply")
    assert rows_of("sms_message") == []
    again = api.post("/v1/sms/send", body, format="json", headers={"Idempotency-Key": "k"})
    assert again.json() == first
    assert again["Idempotent-Replayed"] == "true"
    assert Account.objects.get().balance == 900
    assert not accounts_off()
