"""An authenticator app."""

from __future__ import annotations

import base64
import time

from django_otp.oath import TOTP


def code_of(secret: str, *, later: int = 0) -> str:
    """The code that an app with this secret (base32, blanks allowed) shows, or shows `later` periods of 30 s later.

    The gateway accepts a code of the period before, of this one and of the next, and none twice.
    """
    text = secret.replace(" ", "")
    generator = TOTP(base64.b32decode(text + "=" * (-len(text) % 8)))
    generator.time = time.time() + 30 * later
    return f"{generator.token():06}"
