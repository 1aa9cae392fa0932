"""Secrets that protect nothing: placeholders of examples, short ones, and ones that a program guesses."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote, urlsplit

# Without case and punctuation. Examples, tutorials and this repository write them where a secret belongs.
_INSIDE: Final = (
    "replaceme",
    "replacethis",
    "changeme",
    "changethis",
    "changeit",
    "developmentonly",
    "djangoinsecure",
    "placeholder",
    "notasecret",
    "yoursecret",
    "yourtoken",
    "yourpassword",
    "yourkey",
    "puthere",
)
_WHOLE: Final = re.compile(
    "secret|password|passwd|pass|token|key|tests?|testing|admin|administrator|root|default|example|sample|dummy|todo|none"
    "|null|letmein|qwerty|guest|user|gateway|smsgateway|postgres|postgresql|clickhouse|kafka|redis"
)
_PUNCTUATION: Final = re.compile(r"[\W_]+")
_VARIETY: Final = 8


def complaint(secret: str, *, least: int = 0) -> str:
    """What is wrong with a secret, as the end of a sentence; empty if nothing is. Never quotes the secret.

    `least`: the fewest characters that it must have.
    """
    plain = _PUNCTUATION.sub("", secret).lower()
    if secret.startswith("<") and secret.endswith(">"):
        return "is a placeholder"
    if _WHOLE.fullmatch(plain) or any(word in plain for word in _INSIDE):
        return "is a placeholder"
    if len(secret) < least:
        return f"has {len(secret)} characters, fewer than {least}"
    different = len(set(secret.lower()))
    # Random digits have this many different ones with near certainty, and random letters more.
    if different < min(_VARIETY, len(secret) // 4 + 1) or (len(secret) > 1 and secret in (secret * 2)[1:-1]):
        return "is too regular to be random"
    return ""


def url_complaint(url: str) -> str:
    """The same for the password in a URL; empty if it has no password."""
    try:
        password = urlsplit(url).password
    except ValueError:  # reported elsewhere
        return ""
    found = complaint(unquote(password)) if password else ""
    return f"has a password that {found}" if found else ""
