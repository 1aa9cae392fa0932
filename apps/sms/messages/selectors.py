"""Reads messages, their status and their history."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple
from uuid import UUID

from apps.sms import statuses
from apps.sms.errors import MessageArchived, MessageNotFound
from apps.sms.models import Message, StatusEntry
from smsgateway import ids
from smsgateway.http.paging import Page
from smsgateway.partitions.bounds import among
from smsgateway.partitions.lookup import archived_at
from smsgateway.postgres.plans import own_plans

# The current status of a message: the furthest one in its log, or the status it was accepted with. The bounds on the
# log's ids are those of the messages: without them the planner opens every partition of the log.
_CURRENT = """
  LEFT JOIN LATERAL (
      SELECT status, sum(refund) OVER () AS refunded
        FROM sms_statusentry
       WHERE message_id = message.id AND message_id >= %(lowest)s AND message_id < %(highest)s
       ORDER BY array_position(%(order)s::text[], status) DESC
       LIMIT 1
  ) AS newest ON true
"""
_STATUS = "coalesce(newest.status, CASE WHEN message.send_at IS NULL THEN 'accepted' ELSE 'scheduled' END)"
_LIST = f"""
SELECT message.*, {_STATUS} AS status, coalesce(newest.refunded, 0) AS refunded
  FROM sms_message AS message {_CURRENT}
 WHERE message.customer_id = %(customer_id)s
   AND message.id >= %(lowest)s AND message.id < %(highest)s
   {{filters}}
 ORDER BY message.id DESC
 LIMIT %(limit)s
"""  # the filters are ours, below
_FILTERS = {
    "recipient": "AND message.recipient = %(recipient)s",
    "reference": "AND message.reference = %(reference)s AND message.reference <> ''",
    "status": f"AND {_STATUS} = %(status)s",
}


class Listed(NamedTuple):
    """A message with its current status and the amount refunded."""

    message: Message
    status: str
    refunded: int


def message_get(*, message_id: UUID) -> Message:
    """The message. Raises MessageNotFound or MessageArchived. Touches one partition."""
    try:
        return Message.objects.get(id=message_id)
    except Message.DoesNotExist:
        raise message_missing(message_id=message_id) from None


def message_missing(*, message_id: UUID) -> MessageNotFound | MessageArchived:
    """The error for a message that is not in the database. `MessageArchived`: the archive covers its time, and may have
    it.
    """
    when = archived_at(Message._meta.db_table, message_id)
    if when is None:
        return MessageNotFound(f"No message has the id {ids.to_text(message_id)}.")
    accepted_at = ids.moment(message_id)
    return MessageArchived(
        f"Messages of {accepted_at:%Y-%m-%d} were archived on {when:%Y-%m-%d}; ask the gateway's operators for one.",
        accepted_at=accepted_at,
        archived_at=when,
    )


def message_history(*, message: Message) -> list[dict[str, Any]]:
    """The message's statuses in order, starting with its acceptance. Touches one partition."""
    return _history(message, StatusEntry.objects.filter(message_id=message.id))


def messages_with_history(*, message_ids: Collection[UUID]) -> list[tuple[Message, list[dict[str, Any]]]]:
    """The messages that exist, each with its history. Touches the partitions that they span."""
    if not message_ids:
        return []
    entries: defaultdict[UUID, list[StatusEntry]] = defaultdict(list)
    for entry in StatusEntry.objects.filter(**among("message_id", message_ids)):
        entries[entry.message_id].append(entry)
    found = Message.objects.filter(**among("id", message_ids))
    return [(message, _history(message, entries[message.id])) for message in found]


def _history(message: Message, entries: Iterable[StatusEntry]) -> list[dict[str, Any]]:
    history: list[dict[str, Any]] = [{"status": statuses.ACCEPTED, "at": ids.moment(message.id)}]
    if message.send_at is not None:
        history.append({"status": statuses.SCHEDULED, "at": ids.moment(message.id), "send_at": message.send_at})
    ordered = sorted(entries, key=lambda entry: statuses.RANK[entry.status])
    submitted_at = next((entry.at for entry in ordered if entry.status == statuses.SUBMITTED), None)
    for entry in ordered:
        # Earlier versions kept the time that the operator reported, which may be before the submit.
        at = max(entry.at, submitted_at) if submitted_at else entry.at
        shown: dict[str, Any] = {"status": entry.status, "at": at, "operator": entry.operator}
        if entry.operator_message_id:
            shown["operator_message_id"] = entry.operator_message_id
        if entry.error:
            shown["error"] = entry.error
        if entry.attempt > 1 or entry.status == statuses.QUEUED:
            shown["attempt"] = entry.attempt
        if entry.refund:
            shown["refunded"] = entry.refund
        history.append(shown)
    return history


def messages_ended(*, message_ids: Collection[UUID]) -> dict[UUID, str]:
    """The final status of each message that has one. Touches the partitions that they span."""
    if not message_ids:
        return {}
    found: defaultdict[UUID, list[str]] = defaultdict(list)
    entries = StatusEntry.objects.filter(**among("message_id", message_ids))
    for message_id, status in entries.filter(status__in=statuses.FINAL).values_list("message_id", "status"):
        found[message_id].append(status)
    return {message_id: current_status(reached) for message_id, reached in found.items()}


def messages_list(
    *,
    customer_id: UUID,
    page: Page,
    status: str | None = None,
    recipient: str | None = None,
    reference: str | None = None,
) -> list[Listed]:
    """A page of the customer's messages, newest first, with one extra message if there is a next page.

    Touches the partitions of the page's time range only. `recipient` is in E.164.
    """
    query, parameters = list_query(
        customer_id=customer_id, page=page, status=status, recipient=recipient, reference=reference
    )
    found: Any = Message.objects.raw(query, parameters)  # with the two extra columns as attributes
    with own_plans():
        return [Listed(message, message.status, int(message.refunded)) for message in found]


def messages_find(
    *,
    page: Page,
    customer_id: UUID | None = None,
    recipient: str | None = None,
    reference: str | None = None,
    limit: int,
) -> list[Listed]:
    """Up to `limit` messages of any customer, newest first, by indexes alone. `recipient` is in E.164.

    Touches the partitions of the page's time range only.
    """
    highest = ids.lowest_id(page.until)
    found = Message.objects.filter(
        id__gte=ids.lowest_id(page.since),
        id__lt=highest if page.before is None else min(highest, UUID(int=page.before)),
    )
    wanted = {"customer_id": customer_id, "recipient": recipient, "reference": reference}
    messages = list(found.filter(**{name: value for name, value in wanted.items() if value}).order_by("-id")[:limit])
    return _with_statuses(messages)


def _with_statuses(messages: list[Message]) -> list[Listed]:
    if not messages:
        return []
    reached: defaultdict[UUID, list[str]] = defaultdict(list)
    refunded: defaultdict[UUID, int] = defaultdict(int)
    entries = StatusEntry.objects.filter(**among("message_id", [message.id for message in messages]))
    for message_id, status, refund in entries.values_list("message_id", "status", "refund"):
        reached[message_id].append(status)
        refunded[message_id] += refund
    return [
        Listed(
            message,
            current_status(
                reached[message.id] or [statuses.ACCEPTED if message.send_at is None else statuses.SCHEDULED]
            ),
            refunded[message.id],
        )
        for message in messages
    ]


def list_query(*, customer_id: UUID, page: Page, **filters: str | None) -> tuple[str, dict[str, Any]]:
    """The statement of `messages_list` and its parameters. A test checks its plan."""
    wanted = {name: value for name, value in filters.items() if value is not None}
    highest = ids.lowest_id(page.until)
    parameters = {
        "customer_id": customer_id,
        "lowest": ids.lowest_id(page.since),
        "highest": highest if page.before is None else min(highest, UUID(int=page.before)),
        "limit": page.limit + 1,
        "order": list(statuses.ORDER),
        **wanted,
    }
    return _LIST.format(filters="\n   ".join(_FILTERS[name] for name in wanted)), parameters


def current_status(found: Iterable[str]) -> str:
    """The furthest of these statuses."""
    return max(found, key=statuses.RANK.__getitem__)
