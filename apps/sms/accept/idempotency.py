"""The Idempotency-Key header: a request that is repeated is done once.

Source: draft-ietf-httpapi-idempotency-key-header. The record commits with the charge, in the same statement. Only an
accepted request is recorded: a refused one changed nothing, so a repetition is simply checked again.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from typing import NamedTuple
from uuid import UUID

from apps.sms.models import IdempotencyRecord
from smsgateway.errors import InvalidRequest
from smsgateway.http.field_errors import FIX_FIELDS, fault
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
    """A request's key, and the hash of its path and body: another request must not use the key."""

    key: str
    fingerprint: bytes


class Record(NamedTuple):
    """The record of a request that was accepted before: its fingerprint, and the parts of its response.

    `cut_at`: only so many of its messages were accepted (see `apps.sms.accept.responses`).
    """

    fingerprint: bytes
    body: str
    cut_at: int | None
    balance: int


def claim_of(*, header: str | None, path: str, body: bytes) -> Claim | None:
    """The claim in a request's Idempotency-Key header, if there is one. Raises InvalidRequest if it is malformed."""
    if header is None:
        return None
    key = header.strip()
    if quoted := _QUOTED.fullmatch(key):
        key = re.sub(r"\\(.)", r"\1", quoted[1])
    elif not _BARE.fullmatch(key):
        key = ""
    if not 0 < len(key) <= _LONGEST:
        reason = f"A key has 1 to {_LONGEST} printable ASCII characters, bare or in double quotes."
        raise InvalidRequest(FIX_FIELDS, errors=[fault("Idempotency-Key", "invalid_key", reason)])
    return Claim(key, hashlib.sha256(path.encode() + b"\n" + body).digest())


def record_find(*, customer_id: UUID, key: str) -> Record | None:
    """The record that the customer's key has, if any."""
    row = IdempotencyRecord.objects.filter(customer_id=customer_id, key=key).first()
    return None if row is None else Record(bytes(row.fingerprint), row.body, row.cut_at, row.balance)


def records_purge(*, now: dt.datetime) -> int:
    """Delete expired records, in batches. Returns how many."""
    return rows_delete(_PURGE, {"before": now - KEPT})
