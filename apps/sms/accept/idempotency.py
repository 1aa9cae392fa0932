"""The Idempotency-Key header: a request that is repeated is done once.

Source: draft-ietf-httpapi-idempotency-key-header. The record commits with the charge, in the same statement. Only what
was accepted is recorded: a refusal changed nothing, so its repetition is simply looked at again.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple
from uuid import UUID

from apps.sms.accept.charge_statement import Once
from apps.sms.accept.service import Accepted
from apps.sms.errors import IdempotencyKeyReused
from apps.sms.models import IdempotencyRecord
from smsgateway.errors import InvalidRequest
from smsgateway.http.field_errors import MEND, fault
from smsgateway.postgres.batch_delete import rows_delete

KEPT = dt.timedelta(hours=24)
_PURGE = """
DELETE FROM sms_idempotencyrecord
 WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM sms_idempotencyrecord WHERE created_at < %(before)s ORDER BY created_at LIMIT %(limit)s
       FOR UPDATE SKIP LOCKED))
"""

# A structured field's string ("…" with \\ and \" escaped), or the bare characters that many clients send.
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
_BARE = re.compile(r"[!#-+\--~]+")
_LONGEST = 255


class Claim(NamedTuple):
    """That a request carries this key: what is recorded of it must be of the same request."""

    key: str
    fingerprint: bytes

    def once(self, answer: Callable[[Sequence[UUID]], str]) -> Once:
        """What is recorded with the charge; `answer` makes the body from the messages' ids."""
        return Once(self.key, self.fingerprint, answer)

    def replay(self, *, customer_id: UUID) -> Accepted | None:
        """The first answer, if the request was done before. Raises IdempotencyKeyReused if another one was."""
        record = IdempotencyRecord.objects.filter(customer_id=customer_id, key=self.key).first()
        if record is None:
            return None
        if bytes(record.fingerprint) != self.fingerprint:
            raise IdempotencyKeyReused("Use a new key for another request.")
        return Accepted([], record.balance, record.cut_at, record.body)


def claim(*, header: str | None, path: str, body: bytes) -> Claim | None:
    """What the request's Idempotency-Key claims, if it has one. Raises InvalidRequest if it is malformed."""
    if header is None:
        return None
    key = header.strip()
    if quoted := _QUOTED.fullmatch(key):
        key = re.sub(r"\\(.)", r"\1", quoted[1])
    elif not _BARE.fullmatch(key):
        key = ""
    if not 0 < len(key) <= _LONGEST:
        reason = f"A key has 1 to {_LONGEST} printable ASCII characters, bare or in double quotes."
        raise InvalidRequest(MEND, errors=[fault("Idempotency-Key", "invalid_key", reason)])
    return Claim(key, hashlib.sha256(path.encode() + b"\n" + body).digest())


def records_purge(*, now: dt.datetime) -> int:
    """Delete the records that were kept long enough, in batches; how many they were."""
    return rows_delete(_PURGE, {"before": now - KEPT})
