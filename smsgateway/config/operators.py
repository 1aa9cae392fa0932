"""The settings of operators: two that are built in, and any number that settings alone describe."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from pathlib import Path
from typing import ClassVar, Final

import msgspec

from smsgateway import zones
from smsgateway.config.setting_field import setting

# No underscore, so that OPERATOR_A_B_… cannot be a setting of both `a` and `a_b`.
NAME: Final = r"[a-z][a-z0-9]{0,31}"
RECEIPT_MEANINGS: Final = ("delivered", "undelivered", "expired", "rejected", "ignored")
PLACEHOLDERS: Final = frozenset(
    ("reference", "sender", "recipient", "recipient_digits", "text", "encoding", "dcs", "segments", "validity")
)
_PLACEHOLDER: Final = re.compile(r"\{(\w+)\}")


def check_template(template: str) -> None:
    """Raises ValueError for a `{name}` that is not a placeholder."""
    if unknown := sorted(set(_PLACEHOLDER.findall(template)) - PLACEHOLDERS):
        raise ValueError(f"{{{unknown[0]}}} is not a placeholder; use {', '.join(sorted(PLACEHOLDERS))}")


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


@dataclasses.dataclass(frozen=True, slots=True)
class Operator:
    """Settings that every HTTP operator has."""

    title: ClassVar[str] = ""
    prefix: ClassVar[str] = ""

    url: str = setting(
        "Base URL of the operator's API; the default is the operator simulator. In production and staging an operator "
        "without a URL does not exist, and one with a URL needs its tokens.",
        default="http://127.0.0.1:8090",
        pattern=r"https?://.+",
    )
    token: str = setting("Bearer token sent to the operator.", default="development-only", secret=8)
    receipt_token: str = setting(
        "Bearer token that its delivery receipts must have, 16 characters or more.",
        default="development-only",
        secret=16,
    )
    receipt_ips: list[str] = setting(
        "Networks that its receipts may come from, comma separated (10.1.0.0/16,2001:db8::1); empty: any.",
        default=[],
        valid=ipaddress.ip_network,
    )
    receipt_secret: str = setting(
        "Secret for the HMAC-SHA256 that its receipts must have in X-Receipt-Signature; empty: no signature is needed.",
        default="",
        secret=16,
    )
    timeout: float = setting(
        "Longest wait for the operator's response.", default=10.0, unit="seconds", minimum=0.1, maximum=300
    )
    in_flight: int = setting(
        "Submits in flight to the operator at once in a process.", default=200, minimum=1, maximum=10_000
    )
    segments_per_second: float = setting(
        "Most segments a second that a process submits to the operator; 0: no limit.",
        default=0.0,
        unit="segments a second",
        minimum=0,
        maximum=100_000,
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Mci(Operator):
    title: ClassVar[str] = "Operator MCI"
    prefix: ClassVar[str] = "OPERATOR_MCI_"


@dataclasses.dataclass(frozen=True, slots=True)
class Irancell(Operator):
    title: ClassVar[str] = "Operator Irancell"
    prefix: ClassVar[str] = "OPERATOR_IRANCELL_"


@dataclasses.dataclass(frozen=True, slots=True)
class Operators:
    title: ClassVar[str] = "More operators"
    prefix: ClassVar[str] = "OPERATORS_"

    http: list[str] = setting(
        "Names of operators with an HTTP API described by settings; each has settings OPERATOR_NAME_….",
        default=[],
        unit="lowercase letters and digits",
        pattern=NAME,
    )
    smpp: list[str] = setting(
        "Names of operators that use SMPP 3.4; each has settings OPERATOR_NAME_….",
        default=[],
        unit="lowercase letters and digits",
        pattern=NAME,
    )
    simulator: str = setting(
        "allowed, for trials: an operator may be the simulator in production and staging too.",
        default="refused",
        choices=("refused", "allowed"),
    )


@dataclasses.dataclass(frozen=True, slots=True)
class HttpOperator(Operator):
    """An operator whose HTTP API is described by settings: see docs/reference/operators.md."""

    title: ClassVar[str] = "An operator named by OPERATORS_HTTP"

    url: str = setting(
        "URL to which messages are submitted; may have placeholders.",
        pattern=r"https?://.+",
        valid=check_template,
    )
    token: str = setting("Bearer token sent to the operator; empty: none.", default="", secret=8)
    receipt_token: str = setting(
        "Bearer token that its delivery receipts must have; in production and staging 16 characters or more.",
        pattern=r"\S{8,}",
        secret=16,
    )
    method: str = setting("HTTP method of a submit.", default="POST", choices=("POST", "PUT", "GET"))
    headers: str = setting(
        "Further headers of a submit, as a JSON object.", default="{}", valid=check_headers, secret=1
    )
    body: str = setting(
        "Template of a submit's body: a JSON object whose texts may have placeholders. GET sends no body.",
        default='{"reference": "{reference}", "from": "{sender}", "to": "{recipient}", "text": "{text}"}',
        valid=check_body,
    )
    body_format: str = setting("Format in which the body is sent.", default="json", choices=("json", "form"))
    answer: str = setting(
        "Format of the operator's response: a JSON document, or plain text that is the operator's id.",
        default="json",
        choices=("json", "text"),
    )
    id_path: str = setting("Path of the operator's id in a JSON response, such as result.0.id.", default="id")
    code_path: str = setting(
        "Path of the result code in a JSON response; empty: only the HTTP status counts.", default=""
    )
    code_ok: list[str] = setting(
        "Result codes that mean the message was taken, such as 0, OK, true or null.", default=["0"]
    )
    throttled: list[str] = setting(
        "Result codes and HTTP statuses (http_429, http_5xx) that mean too many submits.", default=["http_429"]
    )
    transient: list[str] = setting(
        "Result codes and HTTP statuses after which a retry may succeed.",
        default=["http_401", "http_403", "http_408", "http_425", "http_3xx", "http_5xx"],
    )
    permanent: list[str] = setting(
        "Result codes and HTTP statuses that reject the message permanently. This list goes before the other two; what "
        "is on no list also rejects permanently.",
        default=[],
    )
    receipt_reference: str = setting(
        "Path of our reference in a receipt; empty: receipts are matched by the operator's id alone.", default=""
    )
    receipt_id: str = setting("Path of the operator's id in a receipt.", default="id")
    receipt_status: str = setting("Path of the status in a receipt.", default="status")
    receipt_statuses: list[str] = setting(
        "Meaning of each receipt status: delivered, undelivered, expired, rejected or ignored.",
        default=["DELIVRD=delivered", "UNDELIV=undelivered", "EXPIRED=expired", "REJECTD=rejected", "ENROUTE=ignored"],
        pattern=rf"[^=]+=({'|'.join(RECEIPT_MEANINGS)})",
    )
    receipt_error: str = setting("Path of the operator's error code in a receipt; empty: none.", default="")
    receipt_time: str = setting("Path of the time in a receipt; empty: the time of arrival is used.", default="")
    receipt_time_format: str = setting(
        "Format of the time in a receipt.", default="iso", choices=("iso", "unix", "unix-milliseconds")
    )


@dataclasses.dataclass(frozen=True, slots=True)
class SmppOperator:
    """An operator that uses SMPP 3.4: see docs/reference/operators.md."""

    title: ClassVar[str] = "An operator named by OPERATORS_SMPP"
    prefix: ClassVar[str] = ""

    host: str = setting("Host of the operator's SMSC.")
    port: int = setting("Port of the operator's SMSC.", default=2775, unit="TCP port", minimum=1, maximum=65535)
    tls: str = setting("TLS to the SMSC; its certificate is checked.", default="off", choices=("off", "on"))
    tls_ca_file: str = setting("CA certificates (PEM file); empty uses the system's.", default="", valid=check_file)
    system_id: str = setting("system_id of the bind.", pattern=r"[\x21-\x7e]{1,15}")
    password: str = setting("Password of the bind.", pattern=r"[\x21-\x7e]{1,8}", secret=1)
    system_type: str = setting("system_type of the bind.", default="", pattern=r"[\x20-\x7e]{0,12}")
    in_flight: int = setting(
        "Window: submits in flight at once on a connection.",
        default=10,
        minimum=1,
        maximum=10_000,
    )
    segments_per_second: float = setting(
        "Most segments a second that a connection submits; 0: no limit.",
        default=0.0,
        unit="segments a second",
        minimum=0,
        maximum=100_000,
    )
    timeout: float = setting(
        "Longest wait for the operator's response.", default=10.0, unit="seconds", minimum=0.1, maximum=300
    )
    enquire_link: float = setting(
        "Silence after which enquire_link is sent; without a response the connection is closed and bound again.",
        default=30.0,
        unit="seconds",
        minimum=0.05,
        maximum=3600,
    )
    rebind_base: float = setting(
        "First delay before binding again; it doubles with each failure.",
        default=0.5,
        unit="seconds",
        minimum=0.01,
        maximum=3600,
    )
    rebind_cap: float = setting(
        "Longest delay before binding again.", default=60.0, unit="seconds", minimum=0.01, maximum=3600
    )
    long_messages: str = setting(
        "Encoding of long messages: user data headers, SAR parameters, or one message_payload.",
        default="udh",
        choices=("udh", "sar", "payload"),
    )
    part_tries: int = setting(
        "Tries of a later part of a long message before the whole message is sent again.",
        default=5,
        minimum=1,
        maximum=100,
    )
    service_type: str = setting("service_type of each message.", default="", pattern=r"[\x20-\x7e]{0,5}")
    number_ton: int = setting(
        "Type of number (TON) of senders with more than 8 digits.", default=1, minimum=0, maximum=6
    )
    number_npi: int = setting(
        "Numbering plan (NPI) of senders with more than 8 digits.", default=1, minimum=0, maximum=18
    )
    short_ton: int = setting("Type of number (TON) of senders with up to 8 digits.", default=3, minimum=0, maximum=6)
    short_npi: int = setting("Numbering plan (NPI) of senders with up to 8 digits.", default=0, minimum=0, maximum=18)
    sender_charset: str = setting(
        "Character set of senders with letters: ISO 8859-1, which includes ASCII, or the GSM 7-bit alphabet.",
        default="latin-1",
        choices=("latin-1", "gsm"),
    )
    recipient_ton: int = setting("Type of number (TON) of recipients.", default=1, minimum=0, maximum=6)
    recipient_npi: int = setting("Numbering plan (NPI) of recipients.", default=1, minimum=0, maximum=18)
    validity: str = setting(
        "validity_period of a submit: until the message expires, or the operator's own default.",
        default="message",
        choices=("message", "operator"),
    )
    receipts: str = setting("Receipts requested with each message.", default="all", choices=("all", "failures", "none"))
    receipt_ids: str = setting(
        "Notation of ids in submit responses and receipts; unless as-is, both are stored as decimal numbers.",
        default="as-is",
        choices=("as-is", "hex-then-decimal", "decimal-then-hex"),
    )
    receipt_zone: str = setting(
        "Time zone of the done date in receipts; empty: the time of arrival is used.", default="", valid=check_zone
    )
    user_reference: str = setting(
        "Adds user_message_reference to each message: the last 16 bits of its id.",
        default="off",
        choices=("off", "on"),
    )
    transient_statuses: list[str] = setting(
        "Further command statuses after which a retry may succeed, such as 0x00000400.",
        default=[],
        pattern=r"0[xX][0-9a-fA-F]{1,8}",
    )
    permanent_statuses: list[str] = setting(
        "Further command statuses that reject the message permanently.", default=[], pattern=r"0[xX][0-9a-fA-F]{1,8}"
    )
    throttled_statuses: list[str] = setting(
        "Further command statuses that slow the whole connection, such as 0x14 if it means the queue of all numbers.",
        default=[],
        pattern=r"0[xX][0-9a-fA-F]{1,8}",
    )
