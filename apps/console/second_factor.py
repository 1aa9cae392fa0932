"""The second factor of logins: one-time codes of an authenticator app (TOTP, RFC 6238), and recovery codes.

An account has at most one authenticator. Its recovery codes work once each; the database holds only their hashes.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from typing import Any, Final, NamedTuple

import django_otp
from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Exists, OuterRef
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

from apps.console.models import RoleRule

RECOVERY_CODES: Final = 10
_RANDOM_BYTES: Final = 10
_CODE: Final = re.compile(r"[0-9]{6}")


def is_required(user: Any) -> bool:
    """Whether this user must have a second factor."""
    return state_of(user).is_required


class State(NamedTuple):
    """What a login without a second factor lacks."""

    has_device: bool
    is_required: bool


def state_of(user: Any) -> State:
    """Whether the user has an authenticator, and whether one is required, in one query."""
    everybody = settings.CONFIG.admin.second_factor == "everybody"
    rules = RoleRule.objects.filter(second_factor=True)
    rules = rules if user.is_superuser else rules.filter(role__user=OuterRef("pk"))
    devices = TOTPDevice.objects.filter(user=OuterRef("pk"), confirmed=True)
    has_device, is_required = (
        User.objects.filter(pk=user.pk)
        .annotate(has_device=Exists(devices), is_required=Exists(rules))
        .values_list("has_device", "is_required")
        .get()
    )
    return State(has_device, is_required or everybody)


def device_of(user: Any) -> TOTPDevice | None:
    """The user's authenticator, if it is set up."""
    return TOTPDevice.objects.filter(user=user, confirmed=True).first()


def recovery_codes_left(user: Any) -> int:
    """How many recovery codes the user has not used."""
    count: int = StaticToken.objects.filter(device__user=user).count()
    return count


def enrolment(user: Any) -> TOTPDevice:
    """The authenticator that the user is setting up; the same one until it is confirmed."""
    found = TOTPDevice.objects.filter(user=user, confirmed=False).order_by("-id").first()
    return found or TOTPDevice.objects.create(user=user, name="authenticator", confirmed=False)


def enrolment_confirm(*, user: Any, code: str) -> TOTPDevice | None:
    """Make the authenticator being set up the user's only one if it shows this code; otherwise None."""
    device = enrolment(user)
    if django_otp.verify_token(user, device.persistent_id, _plain(code)) is None:
        return None
    with transaction.atomic():
        TOTPDevice.objects.filter(user=user).exclude(pk=device.pk).delete()
        TOTPDevice.objects.filter(pk=device.pk).update(confirmed=True)
    device.refresh_from_db()
    return device


def recovery_codes_make(user: Any) -> list[str]:
    """Replace the user's recovery codes by new ones, and return them; they cannot be read again."""
    codes = [_new_code() for _ in range(RECOVERY_CODES)]
    with transaction.atomic():
        StaticDevice.objects.filter(user=user).delete()
        device = StaticDevice.objects.create(user=user, name="recovery codes", confirmed=True)
        StaticToken.objects.bulk_create(StaticToken(device=device, token=_hash(_plain(code))) for code in codes)
    return codes


def code_verify(*, user: Any, code: str) -> Any:
    """The device that accepts this code, of the authenticator or for recovery; None if none does.

    After failures a device refuses even right codes, for 1 s, 2 s, 4 s and so on.
    """
    plain = _plain(code)
    if _CODE.fullmatch(plain):
        device, token = device_of(user), plain
    else:
        device, token = StaticDevice.objects.filter(user=user, confirmed=True).first(), _hash(plain)
    return device and django_otp.verify_token(user, device.persistent_id, token)


def remove(user: Any) -> bool:
    """Remove the user's authenticator and recovery codes. Returns whether there were any."""
    with transaction.atomic():
        found = [model.objects.filter(user=user).delete()[0] for model in (TOTPDevice, StaticDevice)]
    return any(found)


def secret_text(device: TOTPDevice) -> str:
    """The authenticator's secret as people type it: base32 in groups of four."""
    text = base64.b32encode(device.bin_key).decode().rstrip("=")
    return " ".join(text[start : start + 4] for start in range(0, len(text), 4))


def _new_code() -> str:
    text = base64.b32encode(secrets.token_bytes(_RANDOM_BYTES)).decode().lower()
    return "-".join(text[start : start + 4] for start in range(0, len(text), 4))


def _plain(code: str) -> str:
    return re.sub(r"[\s-]", "", code).lower()


def _hash(plain: str) -> str:
    """16 characters, as many as the column has: 64 bits, enough for ten codes of 80 random bits each."""
    return hashlib.sha256(plain.encode()).hexdigest()[:16]
