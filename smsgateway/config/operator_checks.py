"""Checks of the values of operators' settings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import msgspec

from smsgateway import zones

PLACEHOLDERS: Final = frozenset(
    ("reference", "sender", "recipient", "recipient_digits", "text", "encoding", "dcs", "segments", "validity")
)
# `metadata.NAME` is a field of the message's own metadata, empty if it has none.
PLACEHOLDER: Final = re.compile(r"\{([\w.]+)\}")
_METADATA: Final = re.compile(r"metadata\.\w{1,40}")
# A pattern of addresses, with their type of number and numbering plan.
ADDRESS_TYPE: Final = r"[^=,\s]{1,21}=[0-6]/(?:[0-9]|1[0-8])"
TLV: Final = re.compile(
    r"(?P<tag>0[xX][0-9a-fA-F]{1,4})(?::(?P<kind>text|cstring|hex|int1|int2|int4))?=(?P<value>[^\x00-\x1f]{1,255})"
)


def check_template(template: str) -> None:
    """Raises ValueError for a `{name}` that is not a placeholder."""
    unknown = sorted(
        name for name in set(PLACEHOLDER.findall(template)) - PLACEHOLDERS if not _METADATA.fullmatch(name)
    )
    if unknown:
        known = ", ".join(sorted(PLACEHOLDERS))
        raise ValueError(f"{{{unknown[0]}}} is not a placeholder; use {known}, or metadata.NAME")


def check_body(template: str) -> None:
    """Raises ValueError if it is not a JSON object, or has a `{name}` that is not a placeholder."""
    try:
        msgspec.json.decode(template, type=dict[str, object])
    except msgspec.MsgspecError as error:
        raise ValueError(f"it is not a JSON object ({error})") from None
    check_template(template)


def check_headers(text: str) -> None:
    """Raises ValueError if it is not a JSON object of header names and texts."""
    try:
        headers = msgspec.json.decode(text, type=dict[str, str])
    except msgspec.MsgspecError:
        raise ValueError('it is not a JSON object of texts, such as {"X-Api-Key": "…"}') from None
    for name, value in headers.items():
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or not re.fullmatch(r"[\t\x20-\x7e]*", value):
            raise ValueError(f"the header {name!r} cannot be sent")


def check_file(path: str) -> None:
    """Raises ValueError if there is no such file; an empty path is fine."""
    if path and not Path(path).is_file():
        raise ValueError(f"there is no file {path}")


def check_zone(name: str) -> None:
    """Raises ValueError if there is no such time zone; an empty name is fine."""
    try:
        if name:
            zones.zone_named(name)
    except zones.UnknownZone:
        raise ValueError(f"{name!r} is not a time zone such as Asia/Tehran") from None


def check_tlv(entry: str) -> None:
    """Raises ValueError if it is not TAG=VALUE or TAG:TYPE=VALUE, or its value cannot be of the type."""
    matched = TLV.fullmatch(entry)
    if not matched:
        raise ValueError(f"{entry!r} is not TAG=VALUE or TAG:TYPE=VALUE, such as 0x1400=1101234567890123456")
    value, kind = matched["value"], matched["kind"] or "text"
    check_template(value)
    if "{" in value:
        return
    if kind == "hex" and not re.fullmatch(r"(?:[0-9a-fA-F]{2})*", value):
        raise ValueError(f"{value!r} is not hexadecimal")
    if kind.startswith("int") and not (re.fullmatch(r"[0-9]{1,10}", value) and int(value) < 256 ** int(kind[3:])):
        raise ValueError(f"{value!r} does not fit {kind}")
    if kind in ("text", "cstring") and not value.isprintable():
        raise ValueError("it has characters that cannot be sent")
