"""Deletes rows that are kept for a limited time. Each kind is deleted in batches, independently of the others."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Final, NamedTuple

import structlog
from django.db import Error as DatabaseError
from django.db import connection

from apps.customers.callback_endpoints import secrets_purge
from apps.sms.accept.idempotency import records_purge
from apps.sms.callbacks.rows import purge as callbacks_purge
from apps.sms.receipts.notes import KEPT_DAYS as NOTES_KEPT_DAYS
from apps.sms.receipts.notes import notes_purge
from apps.sms.suspension.held_messages import KEPT_DAYS, held_purge
from smsgateway import ids
from smsgateway.config import Config
from smsgateway.metrics import PURGED
from smsgateway.postgres.batch_delete import rows_delete

log = structlog.get_logger(__name__)

# Django itself never deletes expired sessions.
_LOGINS: Final = """
DELETE FROM django_session
 WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM django_session WHERE expire_date < %(before)s ORDER BY expire_date LIMIT %(limit)s
       FOR UPDATE SKIP LOCKED))
"""
# Forms that were confirmed. Nobody confirms one again after a month.
_FORMS_KEPT: Final = dt.timedelta(days=30)
_FORMS: Final = """
DELETE FROM balance_bookedform
 WHERE id = ANY (ARRAY(SELECT id FROM balance_bookedform WHERE id < %(before)s ORDER BY id LIMIT %(limit)s))
"""
_ADMIN_LOG: Final = """
DELETE FROM django_admin_log
 WHERE id = ANY (ARRAY(
    SELECT id FROM django_admin_log WHERE action_time < %(before)s ORDER BY id LIMIT %(limit)s))
"""
# A trigger refuses every other change of the audit log, and this one for acts younger than 90 days.
_YOUNGEST_ACT: Final = dt.timedelta(days=90)
_ACTS: Final = """
DELETE FROM console_act
 USING (SELECT set_config('smsgateway.audit_purge', 'on', true) AS value) AS purge
 WHERE purge.value = 'on'
   AND id = ANY (ARRAY(SELECT id FROM console_act WHERE id < %(before)s ORDER BY id LIMIT %(limit)s))
"""


class Kind(NamedTuple):
    """One kind of rows. `delete` deletes those that have expired at the given time, and returns how many."""

    name: str
    delete: Callable[[dt.datetime], int]


class Purged(NamedTuple):
    """The result of a run: the number of deleted rows by kind, and the kinds that failed, with the reason."""

    deleted: dict[str, int]
    failed: dict[str, str]


def kinds_of(config: Config) -> list[Kind]:
    """Every kind of rows that is kept for a limited time."""
    kept = dt.timedelta(days=config.callback.kept_days)
    admin_log_kept = dt.timedelta(days=config.admin.log_kept_days)
    audit_kept = config.admin.audit_kept_days and max(dt.timedelta(days=config.admin.audit_kept_days), _YOUNGEST_ACT)
    return [
        Kind("idempotency records", lambda now: records_purge(now=now)),
        Kind("callbacks", lambda now: callbacks_purge(before=now - kept)),
        Kind("callback secrets", lambda now: secrets_purge(now=now)),
        Kind("held messages that went on", lambda now: held_purge(before=now - dt.timedelta(days=KEPT_DAYS))),
        Kind("notes of receipts", lambda now: notes_purge(before=now - dt.timedelta(days=NOTES_KEPT_DAYS))),
        Kind("logins", lambda now: rows_delete(_LOGINS, {"before": now})),
        Kind("confirmed forms", lambda now: rows_delete(_FORMS, {"before": ids.lowest_id(now - _FORMS_KEPT)})),
        Kind("entries of the admin log", lambda now: rows_delete(_ADMIN_LOG, {"before": now - admin_log_kept})),
        *([Kind("acts of the audit log", lambda now: _acts_purge(now - audit_kept))] if audit_kept else []),
    ]


def _acts_purge(before: dt.datetime) -> int:
    return rows_delete(_ACTS, {"before": ids.lowest_id(before)})


def purge(kinds: list[Kind], *, now: dt.datetime) -> Purged:
    """Delete every kind; one that fails does not prevent the others."""
    deleted: dict[str, int] = {}
    failed: dict[str, str] = {}
    for kind in kinds:
        try:
            deleted[kind.name] = kind.delete(now)
        except DatabaseError as error:
            failed[kind.name] = str(error).strip()
            log.error("purge_failed", kind=kind.name, error=failed[kind.name])
            if not connection.in_atomic_block:
                connection.close_if_unusable_or_obsolete()  # the next kind gets a new one
        PURGED.labels(kind.name).set(deleted.get(kind.name, 0))
    return Purged(deleted, failed)
