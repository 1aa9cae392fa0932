"""One-time tokens of forms that must not be sent twice: an id, chosen when the form is shown.

It is signed together with whom it is for, so that nobody chooses ids. A primary key keeps that it is used once: that of
what the form makes, or for a booking that of `BookedForm`.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

from django.core import signing

from smsgateway import ids

# A confirmation that was left open for longer begins again: the balance that it shows is old.
LONGEST_SECONDS: Final = 900


class TokenInvalid(Exception):
    """The form is too old, or its token is none of ours"""


def token_make(purpose: str, subject: UUID, value: str = "") -> str:
    """A token for one act on the subject. `value`: the id it carries; a new ULID if there is none."""
    return signing.dumps([str(subject), value or str(ids.new_id())], salt=f"console.{purpose}")


def token_read(purpose: str, subject: UUID, token: str) -> str:
    """The id in the token. Raises TokenInvalid."""
    try:
        owner, value = signing.loads(token, salt=f"console.{purpose}", max_age=LONGEST_SECONDS)
    except (signing.BadSignature, ValueError):
        raise TokenInvalid from None
    if owner != str(subject):
        raise TokenInvalid
    return str(value)
