"""The one writer of events to the outbox, and the bounds on ids that go with reading by many of them."""

from __future__ import annotations

from django.db import connection, transaction

from apps.sms import events, statuses
from apps.sms.models import Message, OutboxEntry
from apps.sms.outbox.writer import OutboxEvent, outbox_add
from smsgateway import ids
from smsgateway.partitions.bounds import among, id_bounds, within


def changed(message: Message, status: str) -> OutboxEvent:
    event = events.status_changed(message, status=status, at=1_800_000_000_000, operator="mci")
    return OutboxEvent(message.customer_id, message.id, event, f"request-{status}")


def test_events_keep_their_order_and_their_requests(db: None) -> None:
    message = Message(id=ids.new_id(), customer_id=ids.new_id(), segments=2, cost=70)
    order = (statuses.FAILED, statuses.DELIVERED, statuses.SUBMITTED)
    assert outbox_add(changed(message, status) for status in order) == 3
    rows = list(OutboxEntry.objects.order_by("id"))
    assert [row.request_id for row in rows] == [f"request-{status}" for status in order]
    assert {(row.customer_id, row.message_id, row.due) for row in rows} == {(message.customer_id, message.id, False)}
    written = [events.decode_status(bytes(row.payload or b"")) for row in rows]
    assert written == [changed(message, status).event for status in order]


def test_events_go_with_the_transaction_that_they_report(db: None) -> None:
    message = Message(id=ids.new_id(), customer_id=ids.new_id(), segments=1, cost=1)
    with transaction.atomic():
        assert outbox_add([changed(message, statuses.FAILED)]) == 1
        transaction.set_rollback(True)
    assert outbox_add([]) == 0
    assert not OutboxEntry.objects.exists()


def test_bounds_are_those_of_the_ids_in_any_order() -> None:
    low, middle, high = ids.new_ids(3)
    assert id_bounds([middle, high, low]) == {"ids": [middle, high, low], "lowest": low, "highest": high}
    assert among("message_id", {high, low}) == {
        "message_id__in": {high, low},
        "message_id__gte": low,
        "message_id__lte": high,
    }


def test_bounds_leave_out_the_partitions_of_other_days(db: None) -> None:
    statement = f"EXPLAIN SELECT FROM sms_message WHERE id = ANY(%(ids)s) AND {within('id')}"
    with connection.cursor() as cursor:
        cursor.execute(statement, id_bounds([ids.new_id()]))
        read = {word for (line,) in cursor.fetchall() for word in line.split() if word.startswith("sms_message_")}
    assert len({name for name in read if not name.endswith("_pkey")}) == 1
