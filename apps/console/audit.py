"""The audit log: who did what, when, and why."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

import structlog
from django.db import connection, transaction
from django.http import HttpRequest

from apps.console.changes import Change
from apps.console.models import Act
from smsgateway import ids
from smsgateway.metrics import CONSOLE_ACTS

log = structlog.get_logger(__name__)


def act_note(
    *,
    request: HttpRequest,
    act: str,
    subject: str,
    customer_id: UUID | None = None,
    why: str = "",
    changes: Iterable[Change] = (),
    **details: Any,
) -> None:
    """Record what the request's user does, in the transaction that does it. Refuses to run outside one.

    `changes`: the values before and after. `details`: anything else worth keeping, as JSON.
    """
    user: Any = request.user
    act_record(
        user_id=user.pk,
        user_name=user.get_username(),
        act=act,
        subject=subject,
        customer_id=customer_id,
        why=why,
        changes=changes,
        **details,
    )


def act_record(
    *,
    user_id: int,
    user_name: str,
    act: str,
    subject: str,
    customer_id: UUID | None = None,
    why: str = "",
    changes: Iterable[Change] = (),
    **details: Any,
) -> None:
    """Record an act of this person, like `act_note`."""
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("An act must be recorded in the transaction that does it.")
    Act.objects.create(
        user_id=user_id,
        user_name=user_name,
        act=act,
        customer_id=customer_id,
        subject=subject[:200],
        why=why[:500],
        details=details | ({"changes": rows} if (rows := [list(change) for change in changes]) else {}),
    )

    def count_and_log() -> None:
        CONSOLE_ACTS.labels(act).inc()
        log.info("console_act", act=act, user=user_name, customer_id=customer_id and ids.to_text(customer_id))

    transaction.on_commit(count_and_log)
