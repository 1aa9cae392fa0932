"""Query parameters of the reporting API."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Final, Self, cast
from uuid import UUID

from django.http import QueryDict

from apps.reporting.selectors import Interval
from smsgateway import query

_KNOWN: Final = ("customer_id", "from", "to", "operator")
_operator: Final = query.matching(r"[a-z0-9_-]{1,64}", "an operator's name, such as mci")


@dataclasses.dataclass(frozen=True, slots=True)
class StatsParameters:
    """What statistics are asked for: a half-open range in UTC; `operator` empty means all."""

    customer_id: UUID
    since: dt.datetime
    until: dt.datetime
    operator: str

    @classmethod
    def read(cls, given: QueryDict, *, interval: Interval) -> Self:
        """Raises InvalidRequest with one entry for each wrong, missing, repeated or unknown parameter."""
        asked = query.Query(given, known=_KNOWN)
        asked.require("customer_id", "from", "to")
        customer_id = asked.read("customer_id", query.ulid)
        since, until = asked.read("from", query.moment), asked.read("to", query.moment)
        operator = asked.read("operator", _operator) or ""
        if since and until:
            if since >= until:
                asked.refuse("to", "invalid", "must be later than from, which is in the range while to is not")
            elif until - since > interval.longest:
                asked.refuse("to", "range_too_long", f"the range may span {interval.longest.days} days at most")
        asked.check()
        return cls(cast(UUID, customer_id), cast(dt.datetime, since), cast(dt.datetime, until), operator)
