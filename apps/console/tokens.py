"""One-time tokens of forms that must not take effect twice: an id, chosen when the form is shown.

The id is signed together with its subject, so clients cannot choose ids. A primary key ensures that it is used once:
that of the row which the form creates, or for a booking that of `BookedForm`.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

from django.core import signing

from smsgateway import ids

# A confirmation left open for longer must start again, because the balance that it shows is outdated.
MAX_AGE_SECONDS: Final = 900


class TokenInvalid(Exception):
    """The form has expired, or its token was not issued by us"""


def token_make(purpose: str, subject: UUID, value: str = "") -> str:
    """A token for one act on the subject. `value`: the id it carries; by default a new ULID."""
    return signing.dumps([str(subject), value or str(ids.new_id())], salt=f"console.{purpose}")


def token_read(purpose: str, subject: UUID, token: str) -> str:
    """The id in the token. Raises TokenInvalid."""
    try:
        owner, value = signing.loads(token, salt=f"console.{purpose}", max_age=MAX_AGE_SECONDS)
    except (signing.BadSignature, ValueError):
        raise TokenInvalid from None
    if owner != str(subject):
        raise TokenInvalid
    return str(value)
