"""Messages of a suspended customer are held, released in order, or refunded when they expire."""

from __future__ import annotations

import datetime as dt
from typing import Any
from uuid import UUID

import pytest
from confluent_kafka import Producer
from django.conf import settings
from django.db import connection

from apps.balance.models import Account
from apps.balance.selectors import accounts_off
from apps.customers.services import customer_refund_policy
from apps.sms import events
from apps.sms.models import HeldMessage, Message, OutboxEntry, ScheduledEntry, StatusEntry
from apps.sms.outbox import relay
from apps.sms.settlement.cancel import waiting_count
from apps.sms.settlement.service import statuses_settle
from apps.sms.shards import Shard
from apps.sms.suspension import held_relay
from apps.sms.suspension.held_messages import held_add, held_purge
from apps.sms.suspension.held_relay import HeldRelay
from smsgateway import ids
from smsgateway.kafka import client as kafka
from tests.support.customers import MakeCustomer
from tests.support.held_messages import (
    KAFKA,
    Post,
    delivered,
    facts,
    held_by_worker,
    relay_all,
    resume,
    send,
    settle_held,
    suspend,
)


def test_what_is_in_the_outbox_is_held_until_the_customer_is_active(
    customer_id: UUID, post: Post, held: HeldRelay, published: list[kafka.Record]
) -> None:
    sent = [send(post, customer_id, **{"priority": priority}) for priority in ("normal", "bulk", "normal", "otp")]
    suspend(customer_id)
    relay_all()
    assert facts(published) == sent, "the statistics know of them all the same"
    assert delivered(published) == []
    assert not OutboxEntry.objects.exists()
    assert held.round() == 0
    resume(customer_id)
    assert held.round() == 4
    assert delivered(published) == [sent[3], sent[0], sent[2], sent[1]]
    assert held.round() == 0
    assert not HeldMessage.objects.filter(is_held=True).exists()


def test_a_message_that_stands_in_the_outbox_twice_is_held_once(
    customer_id: UUID, post: Post, held: HeldRelay, published: list[kafka.Record]
) -> None:
    """Only a hand in the database makes this. It must not hold up everybody behind it."""
    sent = send(post, customer_id)
    OutboxEntry.objects.create(customer_id=customer_id, message_id=ids.from_text(sent))
    suspend(customer_id)
    relay_all()
    assert not OutboxEntry.objects.exists()
    resume(customer_id)
    assert held.round() == 1
    assert delivered(published) == [sent]


def test_a_scheduled_message_that_becomes_due_meanwhile_is_held(
    customer_id: UUID, post: Post, held: HeldRelay, published: list[kafka.Record]
) -> None:
    later = dt.datetime.now(tz=dt.UTC) + dt.timedelta(days=1)
    due, waits = (send(post, customer_id, send_at=later.isoformat()) for _ in range(2))
    relay_all()
    suspend(customer_id)
    hour_ago = dt.datetime.now(tz=dt.UTC) - dt.timedelta(hours=1)
    ScheduledEntry.objects.filter(message_id=ids.from_text(due)).update(send_at=hour_ago)
    assert relay.release_due() == 1
    relay_all()
    assert (delivered(published), waiting_count(customer_id=customer_id)) == ([], (1, 1))
    resume(customer_id)
    held.round()
    assert delivered(published) == [due]
    assert ScheduledEntry.objects.filter(message_id=ids.from_text(waits)).exists()


def test_later_messages_line_up_behind_those_that_are_held(
    customer_id: UUID, post: Post, held: HeldRelay, published: list[kafka.Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_relay, "BATCH", 2)
    first = [send(post, customer_id) for _ in range(5)]
    suspend(customer_id)
    relay_all()
    resume(customer_id)
    assert held.round() == 2
    later = [send(post, customer_id) for _ in range(3)]
    urgent = send(post, customer_id, priority="otp")
    relay_all(held)
    assert delivered(published) == [*first[:2], urgent]
    while held.round():
        pass
    assert delivered(published) == [*first[:2], urgent, *first[2:], *later]
    relay_all(held)
    last = send(post, customer_id)
    relay_all(held)
    assert delivered(published)[-1] == last


def test_customers_that_are_active_again_take_turns(
    make_customer: MakeCustomer, post: Post, held: HeldRelay, published: list[kafka.Record],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    OutboxEntry.objects.all().delete()
    large, small, suspended = (make_customer() for _ in range(3))
    for customer, count in ((large, 30), (small, 2), (suspended, 2)):
        suspend(customer)
        messages = [Message(id=ids.new_id(), customer_id=customer, recipient="+989121234567", sender="", text="x",
                            encoding="gsm7", segments=1, cost=1, operator="mci", reference="", priority="normal",
                            callback_url="", expires_at=dt.datetime(2100, 1, 1, tzinfo=dt.UTC))
                    for _ in range(count)]  # fmt: skip
        Message.objects.bulk_create(messages)
        held_add(messages=[(message, "") for message in messages])
    resume(large)
    resume(small)
    monkeypatch.setattr(held_relay, "BATCH", 4)
    held.round()
    owners = [events.decode_delivery(record.value).customer_id for record in published]
    assert sorted(owners) == sorted([ids.to_text(large)] * 2 + [ids.to_text(small)] * 2)
    while held.round():
        pass
    assert len(published) == 32
    assert HeldMessage.objects.filter(is_held=True).count() == 2


@pytest.mark.parametrize("policy", [["expired"], []], ids=["refunds", "does not refund"])
def test_what_is_held_too_long_expires_as_the_customers_policy_says(
    customer_id: UUID, post: Post, held: HeldRelay, published: list[kafka.Record], policy: list[str]
) -> None:
    customer_refund_policy(customer_id=customer_id, refund_on=policy)
    message_id = ids.from_text(send(post, customer_id))
    suspend(customer_id)
    relay_all()
    long_ago = dt.datetime.now(tz=dt.UTC) - dt.timedelta(seconds=1)
    HeldMessage.objects.update(expires_at=long_ago)
    published.clear()
    assert held.round() == 1
    assert held.round() == 0
    [record] = published
    assert record.topic == KAFKA.topic_status
    event = events.decode_status(record.value)
    assert isinstance(event, events.StatusChanged)
    assert (event.status, event.error) == ("expired", "validity_ended")
    for _ in range(2):  # Kafka may bring it twice
        statuses_settle(batch=[event])
    entry = StatusEntry.objects.get(message_id=message_id)
    assert (entry.status, entry.refund) == ("expired", 100 if policy else 0)
    assert Account.objects.get(customer_id=customer_id).balance == (10_000 if policy else 9_900)
    assert not accounts_off()


def test_what_a_worker_held_goes_on_with_the_tries_it_had(
    customer_id: UUID, post: Post, held: HeldRelay, published: list[kafka.Record]
) -> None:
    send(post, customer_id)
    relay_all()
    first = published[-1]
    suspend(customer_id)
    event = held_by_worker(first, attempts=2, delays=3, refused=("mci",))
    assert settle_held(event, event) == []
    assert held.round() == 0
    resume(customer_id)
    assert held.round() == 1
    delivery = events.decode_delivery(published[-1].value)
    assert (delivery.attempts, delivery.delays, delivery.refused) == (2, 3, ("mci",))
    assert delivery.request_id == "req-1"
    assert delivery.copy > events.decode_delivery(first.value).copy
    # The same event once more, however late, holds nothing.
    assert settle_held(event) == []
    assert held.round() == 0
    # The copy that went on is held again.
    suspend(customer_id)
    assert settle_held(held_by_worker(published[-1])) == []
    resume(customer_id)
    assert held.round() == 1
    assert delivered(published) == [delivery.message_id] * 3


def test_what_has_a_status_is_not_held(
    customer_id: UUID, post: Post, held: HeldRelay, published: list[kafka.Record]
) -> None:
    """A worker was killed between the submit and its commit: the next one, which holds, read the message again."""
    message_id = ids.from_text(send(post, customer_id))
    relay_all()
    submitted = events.StatusChanged(
        message_id=ids.to_text(message_id), customer_id=ids.to_text(customer_id), status="submitted", at=10**12,
        operator="mci",
    )  # fmt: skip
    statuses_settle(batch=[submitted])
    assert settle_held(held_by_worker(published[-1])) == []
    assert held.round() == 0
    assert not HeldMessage.objects.exists()


@pytest.mark.parametrize("has_expired", [False, True])
def test_a_held_message_that_was_submitted_since_is_neither_released_nor_expired(
    customer_id: UUID, post: Post, held: HeldRelay, published: list[kafka.Record], has_expired: bool
) -> None:
    """A worker was killed before its commit, and its successor, for whom the customer was active, sent the message."""
    message_id = ids.from_text(send(post, customer_id))
    relay_all()
    suspend(customer_id)
    settle_held(held_by_worker(published[-1]))
    StatusEntry.objects.create(message_id=message_id, status="submitted", at=dt.datetime.now(tz=dt.UTC), operator="mci",
                               operator_message_id="1", error="", attempt=1)  # fmt: skip
    published.clear()
    refused = post(f"/v1/sms/{ids.to_text(message_id)}/cancel", {})
    assert (refused.status_code, refused.json()["code"]) == (409, "not_cancelable")
    if has_expired:
        HeldMessage.objects.update(expires_at=dt.datetime.now(tz=dt.UTC) - dt.timedelta(seconds=1))
    resume(customer_id)
    held.round()
    assert published == []
    assert not HeldMessage.objects.filter(is_held=True).exists()


def test_an_event_of_a_message_that_does_not_exist_becomes_a_dead_letter(db: None) -> None:
    stranger = ids.to_text(ids.new_id())
    assert settle_held(events.MessageHeld(message_id=stranger, customer_id=stranger, at=1, copy=1)) == [
        "unknown message"
    ]


def test_nothing_changes_while_kafka_is_away(
    customer_id: UUID, post: Post, held: HeldRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_producer: object, records: Any) -> None:
        list(records)
        raise kafka.KafkaUnavailable("away")

    send(post, customer_id)
    suspend(customer_id)
    monkeypatch.setattr(kafka, "publish_and_wait", away)
    with pytest.raises(kafka.KafkaUnavailable):
        relay_all()
    assert (OutboxEntry.objects.count(), HeldMessage.objects.count()) == (1, 0)
    with monkeypatch.context() as back:
        back.setattr(kafka, "publish_and_wait", lambda _producer, records: list(records))
        relay_all()
    resume(customer_id)
    with pytest.raises(kafka.KafkaUnavailable):
        held.round()
    assert HeldMessage.objects.filter(is_held=True).count() == 1


@pytest.mark.django_db(transaction=True)
def test_of_two_relays_with_the_same_claim_the_later_publishes(
    make_customer: MakeCustomer, post: Post, held: HeldRelay, published: list[kafka.Record]
) -> None:
    OutboxEntry.objects.all().delete()
    customer_id = make_customer()
    sent = send(post, customer_id)
    suspend(customer_id)
    relay_all()
    resume(customer_id)
    claim = held._claim
    other = HeldRelay(Producer({}), config=settings.CONFIG, shard=relay.WHOLE)

    def claim_and_pause() -> Any:
        claimed = claim()
        assert other.round() == 1
        return claimed

    held._claim = claim_and_pause  # type: ignore[method-assign]
    held.round()
    assert delivered(published) == [sent]


def test_rows_of_messages_that_went_on_are_deleted_later(
    customer_id: UUID, post: Post, held: HeldRelay, published: list[kafka.Record]
) -> None:
    for _ in range(2):
        send(post, customer_id)
    suspend(customer_id)
    relay_all()
    resume(customer_id)
    held.round()
    suspend(customer_id)
    send_before = HeldMessage.objects.count()
    now = dt.datetime.now(tz=dt.UTC)
    assert (send_before, held_purge(before=now - dt.timedelta(days=1))) == (2, 0)
    HeldMessage.objects.filter(message_id=HeldMessage.objects.first().message_id).update(is_held=True)  # type: ignore[union-attr]
    assert held_purge(before=now + dt.timedelta(days=1)) == 1


def test_each_shard_holds_and_releases_its_own_customers(
    make_customer: MakeCustomer, post: Post, published: list[kafka.Record]
) -> None:
    OutboxEntry.objects.all().delete()
    customers = [make_customer() for _ in range(12)]
    for customer_id in customers:
        send(post, customer_id)
        suspend(customer_id)
    relay_all()
    for customer_id in customers:
        resume(customer_id)
    counts = [HeldRelay(Producer({}), config=settings.CONFIG, shard=Shard(n, 2)).round() for n in range(2)]
    assert sum(counts) == 12
    assert counts[0] == sum(customer_id.int % 2 == 0 for customer_id in customers)


def test_the_rounds_read_indexes_of_what_is_held_alone(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        for statement, index in ((held_relay._EXPIRED, "sms_heldmessage_expiry"),):
            cursor.execute("EXPLAIN " + statement, {"shard": 0, "shards": 1, "limit": 10})
            assert index in "\n".join(line for (line,) in cursor.fetchall())
        cursor.execute("EXPLAIN " + held_relay._WAITING, {"shard": 0, "shards": 1})
        assert "sms_heldmessage_customer" in "\n".join(line for (line,) in cursor.fetchall())
