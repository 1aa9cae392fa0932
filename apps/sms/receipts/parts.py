"""Submitted parts, by the operators' ids; and what receipts of a long message's parts mean for the whole message."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

from django.db import connection

from apps.sms import statuses
from apps.sms.models import SubmittedPart
from smsgateway import ids
from smsgateway.partitions.bounds import id_bounds, within
from smsgateway.postgres.copy import copy_rows

_COLUMNS: Final = ("submission_id", "part", "parts", "message_id", "operator", "operator_message_id", "status")

# The newest part of each id. The index holds an id's parts in the order of their submissions, and partitions are read
# from the newest back until one has the id. The bounds skip older partitions, and those made ahead.
FIND: Final = """
SELECT asked.position - 1, found.submission_id, found.part, found.parts, found.message_id
  FROM unnest(%(operators)s::text[], %(operator_ids)s::text[])
       WITH ORDINALITY AS asked (operator, operator_message_id, position)
 CROSS JOIN LATERAL (
      SELECT submission_id, part, parts, message_id
        FROM sms_submittedpart AS submitted
       WHERE submitted.operator = asked.operator
         AND submitted.operator_message_id = asked.operator_message_id
         AND submitted.submission_id >= %(since)s AND submitted.submission_id < %(until)s
       ORDER BY submission_id DESC
       LIMIT 1
 ) AS found
"""
_RECORDED: Final = """
SELECT asked.position - 1
  FROM unnest(%s::uuid[], %s::text[], %s::text[])
       WITH ORDINALITY AS asked (message_id, operator, operator_message_id, position)
 WHERE EXISTS (
      SELECT FROM sms_submittedpart AS submitted
       WHERE submitted.operator = asked.operator
         AND submitted.operator_message_id = asked.operator_message_id
         AND submitted.message_id = asked.message_id)
"""
# Locks all parts of these submissions, so that of two receipts at the same time the second sees the first.
_LOCK: Final = f"""
SELECT submission_id, part, status
  FROM sms_submittedpart
 WHERE submission_id = ANY(%(ids)s) AND {within("submission_id")}
 ORDER BY submission_id, part
   FOR UPDATE
"""
_UPDATE: Final = f"""
UPDATE sms_submittedpart AS submitted
   SET status = changed.status
  FROM unnest(%(submissions)s::uuid[], %(parts)s::smallint[], %(statuses)s::text[])
       AS changed (submission_id, part, status)
 WHERE submitted.submission_id = changed.submission_id AND submitted.part = changed.part
   AND {within("submitted.submission_id")}
"""


class Part(NamedTuple):
    """A part that an operator accepted; `part`, from 1. `parts`: how many speak for the message together; 0 if another
    part speaks for it."""

    submission_id: UUID
    part: int
    parts: int
    message_id: UUID


class Submission(NamedTuple):
    """A message that an operator accepted, with the ids of its parts; `reference_key` where the operator gave none.
    `speaking_part`: whose receipt speaks for the message: `first`, `last`, `any`; else all together."""

    message_id: UUID
    operator: str
    operator_ids: tuple[str, ...]
    speaking_part: str = "all"

    def parts_that_speak(self, part: int) -> int:
        """How many parts speak for the message together with this one, counted from 1; 0 if it is silent."""
        match self.speaking_part:
            case "any":
                return 1
            case "first":
                return int(part == 1)
            case "last":
                return int(part == len(self.operator_ids))
            case _:
                return len(self.operator_ids)


def parts_find(keys: Sequence[tuple[str, str]], *, days: int) -> dict[int, Part]:
    """The newest part, submitted within `days`, of each (operator, operator's id); by the key's position, if found."""
    if not keys:
        return {}
    now = dt.datetime.now(tz=dt.UTC)
    with connection.cursor() as cursor:
        cursor.execute(FIND, find_parameters(keys, now=now, days=days))
        return {position: Part(*part) for position, *part in cursor.fetchall()}


def find_parameters(keys: Sequence[tuple[str, str]], *, now: dt.datetime, days: int) -> dict[str, Any]:
    """The parameters of FIND, whose plan a test checks."""
    return {
        "operators": [operator for operator, _ in keys],
        "operator_ids": [operator_id for _, operator_id in keys],
        "since": ids.lowest_id(now - dt.timedelta(days=days)),
        "until": ids.lowest_id(now + dt.timedelta(hours=1)),
    }


def parts_store(submissions: Sequence[Submission]) -> None:
    """Record the parts of submissions."""
    if not submissions:
        return
    numbered = zip(ids.new_ids(len(submissions)), submissions, strict=True)
    with connection.cursor() as cursor:
        copy_rows(
            cursor,
            SubmittedPart._meta.db_table,
            _COLUMNS,
            (
                (submission_id, part, taken.parts_that_speak(part), taken.message_id, taken.operator, operator_id, "")
                for submission_id, taken in numbered
                for part, operator_id in enumerate(taken.operator_ids, start=1)
            ),
        )


def parts_recorded(submissions: Sequence[Submission]) -> set[Submission]:
    """Those of the submissions that are recorded. Reads every partition: use it only for events that come twice."""
    with connection.cursor() as cursor:
        cursor.execute(
            _RECORDED,
            [
                [submission.message_id for submission in submissions],
                [submission.operator for submission in submissions],
                [submission.operator_ids[0] for submission in submissions],
            ],
        )
        return {submissions[position] for (position,) in cursor.fetchall()}


def parts_update(receipts: Sequence[tuple[int, Part, str]]) -> dict[int, Literal["matched", "part", "repeated"]]:
    """Record receipts, (position, part of a long message, status); return by position what each means.

    `matched`: the message has this status now, since a part failed or the last part was delivered. `part`: the other
    parts decide. `repeated`: the part had this status before, or was delivered.
    """
    if not receipts:
        return {}
    submissions = {part.submission_id for _, part, _ in receipts}
    parameters = id_bounds(submissions)
    known: dict[UUID, dict[int, str]] = {submission_id: {} for submission_id in submissions}
    changed: dict[tuple[UUID, int], str] = {}
    outcomes: dict[int, Literal["matched", "part", "repeated"]] = {}
    with connection.cursor() as cursor:
        cursor.execute(_LOCK, parameters)
        for submission_id, number, status in cursor.fetchall():
            known[submission_id][number] = status
        for position, part, status in receipts:
            of_parts = known[part.submission_id]
            if of_parts[part.part] in (status, statuses.DELIVERED):
                outcomes[position] = "repeated"
                continue
            of_parts[part.part] = changed[part.submission_id, part.part] = status
            decided = status != statuses.DELIVERED or set(of_parts.values()) == {statuses.DELIVERED}
            outcomes[position] = "matched" if decided else "part"
        if changed:
            cursor.execute(
                _UPDATE,
                parameters
                | {
                    "submissions": [submission_id for submission_id, _ in changed],
                    "parts": [number for _, number in changed],
                    "statuses": list(changed.values()),
                },
            )
    return outcomes
