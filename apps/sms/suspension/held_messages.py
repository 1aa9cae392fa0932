"""Messages of suspended customers: held in PostgreSQL until their customer is active again, or they expire.

The relay holds those that it finds in the outbox. Workers find them on Kafka and publish a `held` event, which
settlement records. A held message is taken once, by the relay (see `apps.sms.suspension.held_relay`) or by a
cancellation: that sets `is_held` to false under the row's lock. Before the relay publishes, it sets `is_going` in a
transaction of its own. If it dies after that, Kafka may have the message although it is held, and no cancellation takes
it.

A `held` event may come twice, the second time long after the message's release. Each publication of a `delivery` has a
higher `copy`: an event with a lower one than the row's is ignored. So is an event of a message that has any status
other than `queued`, which only counts the tries that no operator accepted.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Collection, Iterable, Sequence
from typing import Final, NamedTuple
from uuid import UUID

from django.db import connection

from apps.sms import events
from apps.sms.models import Message
from smsgateway import ids, json
from smsgateway.partitions.bounds import id_bounds, within
from smsgateway.postgres.batch_delete import rows_delete

RANKS: Final = ("otp", "normal", "bulk")
KEPT_DAYS: Final = 14  # longer than Kafka may deliver an event again

_FROM_RELAY: Final = """
INSERT INTO sms_heldmessage AS held
       (message_id, customer_id, rank, due_at, expires_at, copy, is_held, held_at, attempts, delays, refused,
        request_id)
SELECT message_id, customer_id, rank, to_timestamp(due_at), to_timestamp(expires_at), %(now)s, true, now(), 0, 0, '{}',
       request_id
  FROM json_to_recordset(%(rows)s::json)
       AS row (message_id uuid, customer_id uuid, rank smallint, due_at float8, expires_at float8, request_id text)
 ORDER BY message_id
    ON CONFLICT (message_id) DO UPDATE
   SET is_held = true, held_at = excluded.held_at, copy = greatest(held.copy, excluded.copy),
       request_id = excluded.request_id
"""
_KNOWN: Final = f"""
SELECT id FROM sms_message WHERE id = ANY(%(ids)s) AND {within("id")}
"""
_FROM_WORKER: Final = f"""
INSERT INTO sms_heldmessage AS held
       (message_id, customer_id, rank, due_at, expires_at, copy, is_held, held_at, attempts, delays, refused,
        request_id)
SELECT message.id, message.customer_id, coalesce(array_position(%(ranks)s::text[], message.priority) - 1, 1),
       coalesce(message.send_at, to_timestamp(event.accepted_at)), message.expires_at, event.copy, true,
       to_timestamp(event.at), event.attempts, event.delays, event.refused, event.request_id
  FROM json_to_recordset(%(events)s::json)
       AS event (message_id uuid, accepted_at float8, copy bigint, at float8, attempts smallint, delays smallint,
                 refused text[], request_id text)
  JOIN sms_message AS message
    ON message.id = event.message_id AND {within("message.id")}
 WHERE NOT EXISTS (
    SELECT FROM sms_statusentry AS log
     WHERE log.message_id = message.id AND {within("log.message_id")}
       AND log.status <> 'queued')
 ORDER BY message.id
    ON CONFLICT (message_id) DO UPDATE
   SET is_held = true, held_at = excluded.held_at, copy = excluded.copy, attempts = excluded.attempts,
       delays = excluded.delays, refused = excluded.refused, request_id = excluded.request_id
 WHERE NOT held.is_held AND held.copy <= excluded.copy
"""
_GO: Final = """
UPDATE sms_heldmessage AS held
   SET is_going = true, copy = gone.copy
  FROM unnest(%(ids)s::uuid[], %(copies)s::bigint[]) AS gone (message_id, copy)
 WHERE held.message_id = gone.message_id
"""
# Another relay may have claimed them meanwhile, with later copies. One that a cancellation looks at is waited for; in
# one order, as settlement locks them.
_GOING: Final = """
SELECT held.message_id
  FROM unnest(%(ids)s::uuid[], %(copies)s::bigint[]) AS gone (message_id, copy)
  JOIN sms_heldmessage AS held ON held.message_id = gone.message_id
 WHERE held.is_held AND held.is_going AND held.copy = gone.copy
 ORDER BY held.message_id
   FOR UPDATE OF held
"""
_LET_GO: Final = "UPDATE sms_heldmessage SET is_held = false, is_going = false WHERE message_id = ANY(%s)"
# What has a status was submitted, or has ended: there is nothing to cancel. `queued` only counts its tries.
_TAKE: Final = """
UPDATE sms_heldmessage AS held
   SET is_held = false
 WHERE held.message_id = %s AND held.is_held AND NOT held.is_going
   AND NOT EXISTS (
    SELECT FROM sms_statusentry AS log WHERE log.message_id = held.message_id AND log.status <> 'queued')
"""
_RANKS_OF: Final = """
SELECT customer.id, rank
  FROM unnest(%s::uuid[]) AS customer (id)
 CROSS JOIN generate_series(0, 2) AS rank
 WHERE EXISTS (
    SELECT FROM sms_heldmessage WHERE is_held AND customer_id = customer.id AND sms_heldmessage.rank = rank.rank)
"""
_PURGE: Final = """
DELETE FROM sms_heldmessage
 WHERE message_id = ANY (ARRAY(
    SELECT message_id FROM sms_heldmessage WHERE NOT is_held AND copy < %(before)s ORDER BY copy LIMIT %(limit)s
       FOR UPDATE SKIP LOCKED))
"""


class HeldEvent(NamedTuple):
    """A worker did not send a message. `request_id`: of the request that the message came with."""

    event: events.MessageHeld
    request_id: str


def held_add(*, messages: Iterable[tuple[Message, str]]) -> int:
    """Hold messages that were in the outbox, each with its request's id; how many. In the transaction that takes them
    out of there. One may stand there twice, by a hand in the database."""
    rows = {
        message.id: {
            "message_id": message.id,
            "customer_id": message.customer_id,
            "rank": rank_of(message.priority),
            "due_at": _due(message),
            "expires_at": message.expires_at.timestamp(),
            "request_id": request_id,
        }
        for message, request_id in messages
    }
    if rows:
        with connection.cursor() as cursor:
            cursor.execute(_FROM_RELAY, {"rows": json.encode(list(rows.values())).decode(), "now": now_ms()})
    return len(rows)


def held_record(*, batch: Sequence[HeldEvent]) -> set[UUID]:
    """Hold the messages that workers did not send; return the ids of those that do not exist. Handling an event again
    changes nothing."""
    newest: dict[UUID, HeldEvent] = {}
    for held in batch:
        message_id = ids.from_text(held.event.message_id)
        if message_id not in newest or newest[message_id].event.copy <= held.event.copy:
            newest[message_id] = held
    if not newest:
        return set()
    bounds = id_bounds(newest)
    rows = [
        {
            "message_id": message_id,
            "accepted_at": ids.milliseconds(message_id) / 1000,
            "copy": event.copy,
            "at": event.at / 1000,
            "attempts": event.attempts,
            "delays": event.delays,
            "refused": event.refused,
            "request_id": request_id,
        }
        for message_id, (event, request_id) in newest.items()
    ]
    with connection.cursor() as cursor:
        cursor.execute(_KNOWN, bounds)
        known = {message_id for (message_id,) in cursor.fetchall()}
        cursor.execute(_FROM_WORKER, bounds | {"events": json.encode(rows).decode(), "ranks": list(RANKS)})
    return newest.keys() - known


def held_go(*, copies: dict[UUID, int]) -> None:
    """From now on these may be published, each as this copy. In the transaction that has locked their rows."""
    with connection.cursor() as cursor:
        cursor.execute(_GO, {"ids": list(copies), "copies": list(copies.values())})


def held_going(*, copies: dict[UUID, int]) -> set[UUID]:
    """Lock the rows of these; those that are to be published as this copy still."""
    with connection.cursor() as cursor:
        cursor.execute(_GOING, {"ids": list(copies), "copies": list(copies.values())})
        return {message_id for (message_id,) in cursor.fetchall()}


def held_let_go(*, message_ids: Collection[UUID]) -> None:
    """These have gone on. In the transaction that has locked their rows."""
    with connection.cursor() as cursor:
        cursor.execute(_LET_GO, [list(message_ids)])


def held_take(*, message_id: UUID) -> bool:
    """Take a message away from the relay, to cancel it; False if it is not held, or goes on at this moment."""
    with connection.cursor() as cursor:
        cursor.execute(_TAKE, [message_id])
        return bool(cursor.rowcount)


def held_ranks(*, customer_ids: Collection[UUID]) -> set[tuple[UUID, int]]:
    """The (customer, rank) pairs of these customers that have held messages."""
    if not customer_ids:
        return set()
    with connection.cursor() as cursor:
        cursor.execute(_RANKS_OF, [list(customer_ids)])
        return set(cursor.fetchall())


def held_purge(*, before: dt.datetime) -> int:
    """Delete, in batches, the rows of messages that were released before this time; return how many."""
    return rows_delete(_PURGE, {"before": int(before.timestamp() * 1000)})


def rank_of(priority: str) -> int:
    """The rank of a priority: 0 is the most urgent. Unknown priorities rank as `normal`."""
    return RANKS.index(priority) if priority in RANKS else 1


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def _due(message: Message) -> float:
    return message.send_at.timestamp() if message.send_at else ids.milliseconds(message.id) / 1000
