"""Messages of a suspended customer are held, released in order, refunded when they expire, or canceled."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, cast
from uuid import UUID

import pytest
from confluent_kafka import Message as KafkaMessage
from confluent_kafka import Producer
from django.conf import settings
from django.db import connection, connections
from rest_framework.test import APIClient

from apps.balance.models import Account, LedgerEntry
from apps.balance.selectors import accounts_off
from apps.customers.models import Customer
from apps.customers.services import customer_refund_policy, customer_status_set
from apps.sms import events
from apps.sms.models import HeldMessage, Message, OutboxEntry, ScheduledEntry, StatusEntry
from apps.sms.outbox import relay
from apps.sms.settlement import process as settling
from apps.sms.settlement.cancel import messages_cancel_waiting, waiting_count
from apps.sms.settlement.service import statuses_settle
from apps.sms.shards import Shard
from apps.sms.suspension import held_relay
from apps.sms.suspension.held_messages import held_add, held_purge
from apps.sms.suspension.held_relay import HeldRelay
from smsgateway import ids
from smsgateway.kafka import client as kafka
from tests.support.customers import MakeCustomer

Post = Callable[..., Any]
KAFKA = settings.CONFIG.kafka


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[kafka.Record]:
    """What the relay publishes, in order."""
    found: list[kafka.Record] = []
    monkeypatch.setattr(kafka, "publish_and_wait", lambda _producer, records, **_: found.extend(records))
    return found


@pytest.fixture
def customer_id(make_customer: MakeCustomer) -> UUID:
    OutboxEntry.objects.all().delete()
    return make_customer(balance=10_000)


@pytest.fixture
def held(db: None) -> HeldRelay:
    return HeldRelay(Producer({}), config=settings.CONFIG, shard=relay.WHOLE)


def suspend(customer_id: UUID) -> None:
    customer_status_set(customer_id=customer_id, status=Customer.Status.SUSPENDED)


def resume(customer_id: UUID) -> None:
    customer_status_set(customer_id=customer_id, status=Customer.Status.ACTIVE)


def send(post: Post, customer_id: UUID, **more: Any) -> str:
    answer = post("/v1/sms/send", {"customer_id": ids.to_text(customer_id), "to": "09121234567", "text": "x", **more})
    assert answer.status_code == 200, answer.content
    return str(answer.json()["id"])


def relay_all(held: HeldRelay | None = None) -> None:
    while relay.relay_round(
        producer=Producer({}), config=settings.CONFIG, waiting=held.customers if held else frozenset()
    ):
        pass


def delivered(published: list[kafka.Record]) -> list[str]:
    """The messages that went to the workers, in order."""
    lanes = KAFKA.delivery_lanes.values()
    return [events.decode_delivery(record.value).message_id for record in published if record.topic in lanes]


def facts(published: list[kafka.Record]) -> list[str]:
    found = [record for record in published if record.topic == KAFKA.topic_accepted]
    return [events.decode_accepted(record.value).message_id for record in found]


class Read(NamedTuple):
    """A `held` event as settlement reads it."""

    event: events.MessageHeld
    request_id: str = "req-1"

    def value(self) -> bytes:
        return events.encode(self.event)

    def headers(self) -> list[tuple[str, bytes]]:
        return [("request_id", self.request_id.encode())]


def settle_held(*made: events.MessageHeld) -> list[str]:
    return [reason for _, reason in settling.write(cast(list[KafkaMessage], [Read(event) for event in made]))]


def held_by_worker(record: kafka.Record, **tries: Any) -> events.MessageHeld:
    """What a worker says of a message that it was given."""
    delivery = events.decode_delivery(record.value)
    return events.MessageHeld(
        message_id=delivery.message_id, customer_id=delivery.customer_id, at=ids.milliseconds(ids.new_id()),
        copy=delivery.copy, **tries,
    )  # fmt: skip


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
    def away(_producer: object, records: Any, **_: object) -> None:
        list(records)
        raise kafka.KafkaUnavailable("away")

    send(post, customer_id)
    suspend(customer_id)
    monkeypatch.setattr(kafka, "publish_and_wait", away)
    with pytest.raises(kafka.KafkaUnavailable):
        relay_all()
    assert (OutboxEntry.objects.count(), HeldMessage.objects.count()) == (1, 0)
    with monkeypatch.context() as back:
        back.setattr(kafka, "publish_and_wait", lambda _producer, records, **_: list(records))
        relay_all()
    resume(customer_id)
    with pytest.raises(kafka.KafkaUnavailable):
        held.round()
    assert HeldMessage.objects.filter(is_held=True).count() == 1


def test_a_held_message_is_canceled_by_its_customer_and_never_sent(
    customer_id: UUID, post: Post, held: HeldRelay, published: list[kafka.Record]
) -> None:
    sent = send(post, customer_id)
    suspend(customer_id)
    relay_all()
    answers = [post(f"/v1/sms/{sent}/cancel", {}) for _ in range(2)]
    assert [answer.json() for answer in answers] == [
        {"id": sent, "status": "canceled", "refunded": 100, "balance": 10_000}
    ] * 2
    resume(customer_id)
    assert held.round() == 0
    assert delivered(published) == []
    kinds = LedgerEntry.objects.filter(customer_id=customer_id).order_by("entry").values_list("kind", flat=True)
    assert list(kinds) == ["topup", "charge", "refund"]


@pytest.mark.parametrize("is_suspended_again", [False, True])
def test_what_may_be_on_kafka_is_not_canceled(
    customer_id: UUID, post: Post, held: HeldRelay, published: list[kafka.Record], monkeypatch: pytest.MonkeyPatch,
    is_suspended_again: bool,
) -> None:  # fmt: skip
    """The relay died, or heard nothing of Kafka, after it had published: the message may be sent at any time."""

    def die(_producer: object, records: Any, **_: object) -> None:
        published.extend(records)
        raise kafka.KafkaUnavailable("no answer")

    sent = send(post, customer_id)
    suspend(customer_id)
    relay_all()
    resume(customer_id)
    with monkeypatch.context() as dying:
        dying.setattr(kafka, "publish_and_wait", die)
        with pytest.raises(kafka.KafkaUnavailable):
            held.round()
    assert delivered(published) == [sent]
    if is_suspended_again:
        suspend(customer_id)
    answer = post(f"/v1/sms/{sent}/cancel", {})
    assert (answer.status_code, answer.json()["code"]) == (409, "not_cancelable")
    assert messages_cancel_waiting(customer_id=customer_id) == (0, 0)
    assert Account.objects.get(customer_id=customer_id).balance == 9_900
    # The next relay lets it go, whatever its customer is now: a worker holds it if it must.
    assert (held.round(), held.round()) == (1, 0)
    assert delivered(published) == [sent] * 2
    if is_suspended_again:
        assert settle_held(*map(held_by_worker, published[-2:])) == []
        assert held.round() == 0
        assert post(f"/v1/sms/{sent}/cancel", {}).json()["refunded"] == 100
    assert not accounts_off()


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


def test_all_that_waits_is_canceled_in_batches(
    customer_id: UUID, make_customer: MakeCustomer, post: Post, held: HeldRelay, published: list[kafka.Record]
) -> None:
    other = make_customer()
    later = (dt.datetime.now(tz=dt.UTC) + dt.timedelta(days=1)).isoformat()
    for customer in (customer_id, other):
        for more in ({}, {}, {}, {"send_at": later}, {"send_at": later}):
            send(post, customer, **more)
        suspend(customer)
    relay_all()
    assert waiting_count(customer_id=customer_id) == (3, 2)
    done = [messages_cancel_waiting(customer_id=customer_id, limit=2) for _ in range(4)]
    assert done == [(2, 200), (2, 200), (1, 100), (0, 0)]
    assert (waiting_count(customer_id=customer_id), waiting_count(customer_id=other)) == ((0, 0), (3, 2))
    assert Account.objects.get(customer_id=customer_id).balance == 10_000
    assert not accounts_off()
    published_events = [
        events.decode_status(bytes(row.payload))
        for row in OutboxEntry.objects.filter(customer_id=customer_id, payload__isnull=False)
    ]
    changed = [event for event in published_events if isinstance(event, events.StatusChanged)]
    assert ({event.status for event in changed}, len(changed), len(published_events)) == ({"canceled"}, 5, 10)
    resume(customer_id)
    assert held.round() == 0


@pytest.mark.django_db(transaction=True)
def test_of_cancel_and_resumption_at_the_same_moment_one_wins(
    make_customer: MakeCustomer, post: Post, published: list[kafka.Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    OutboxEntry.objects.all().delete()
    monkeypatch.setattr(held_relay, "BATCH", 3)
    customer_id = make_customer(balance=10_000)
    sent = [send(post, customer_id) for _ in range(40)]
    suspend(customer_id)
    relay_all()
    resume(customer_id)

    def cancel(message_id: str) -> int:
        try:
            return int(APIClient().post(f"/v1/sms/{message_id}/cancel").status_code)
        finally:
            connections.close_all()

    def let_go() -> int:
        try:
            running = HeldRelay(Producer({}), config=settings.CONFIG, shard=relay.WHOLE)
            return sum(running.round() for _ in range(20))
        finally:
            connections.close_all()

    def cancel_all() -> int:
        try:
            return sum(messages_cancel_waiting(customer_id=customer_id, limit=3).messages for _ in range(4))
        finally:
            connections.close_all()

    with ThreadPoolExecutor(6) as threads:
        canceling = [threads.submit(cancel, message_id) for message_id in sent[:20]]
        going, many = threads.submit(let_go), threads.submit(cancel_all)
        codes = [future.result() for future in canceling]
    went = going.result() + HeldRelay(Producer({}), config=settings.CONFIG, shard=relay.WHOLE).round()
    assert set(codes) <= {200, 409}
    canceled = StatusEntry.objects.filter(status="canceled").count()
    left = HeldMessage.objects.filter(is_held=True).count()
    assert canceled + went + left == 40
    assert canceled >= many.result()
    assert set(delivered(published)).isdisjoint(
        ids.to_text(entry.message_id) for entry in StatusEntry.objects.filter(status="canceled")
    )
    assert Account.objects.get(customer_id=customer_id).balance == 10_000 - 100 * (40 - canceled)
    assert not accounts_off()


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
