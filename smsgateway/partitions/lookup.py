"""What is asked of the archive while requests are served: whether an id's row may be there, and since when."""

from __future__ import annotations

import datetime as dt
from uuid import UUID

from django.db.models.functions import Coalesce

from smsgateway.models import ArchivedPartition


def archived_at(table: str, id_: UUID) -> dt.datetime | None:
    """When the partition of this id was archived, or began to be; None if it was not, or is back."""
    found: dt.datetime | None = (
        ArchivedPartition.objects.filter(parent=table, low__lte=id_, high__gt=id_)
        .exclude(state=ArchivedPartition.State.RESTORED)
        .values_list(Coalesce("archived_at", "sealed_at"), flat=True)
        .first()
    )
    return found
