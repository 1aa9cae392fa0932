"""Whether the row of an id may be in the archive, and since when; for processes that serve requests."""

from __future__ import annotations

import datetime as dt
from uuid import UUID

from django.db.models.functions import Coalesce

from smsgateway.models import ArchivedPartition


def archived_at(table: str, id_: UUID) -> dt.datetime | None:
    """When archiving of this id's partition ended, or began; None if it is not archived, or is restored."""
    found: dt.datetime | None = (
        ArchivedPartition.objects.filter(parent=table, low__lte=id_, high__gt=id_)
        .exclude(state=ArchivedPartition.State.RESTORED)
        .values_list(Coalesce("archived_at", "sealed_at"), flat=True)
        .first()
    )
    return found
