"""The settings of operators: two of their own kind, and any number that settings alone describe."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from pathlib import Path
from typing import ClassVar, Final

import msgspec

from smsgateway import zones
from smsgateway.config.declare import setting

# No underscore: the names of one operator's settings are never another's.
NAME: Final = r"[a-z][a-z0-9]{0,31}"
RECEIPT_MEANINGS: Final = ("delivered", "undelivered", "expired", "rejected", "ignored")
PLACEHOLDERS: Final = frozenset(
    ("reference", "sender", "recipient", "recipient_digits", "text", "encoding", "dcs", "segments", "validity")
)
_PLACEHOLDER: Final = re.compile(r"\{(\w+)\}")


def check_template(template: str) -> None:
    """Raises ValueError for a `{name}` that is no placeholder."""
    if unknown := sorted(set(_PLACEHOLDER.findall(template)) - PLACEHOLDERS):
        raise ValueError(f"{{{unknown[0]}}} is no placeholder; they are {', '.join(sorted(PLACEHOLDERS))}")


def check_body(template: str) -> None:
    """Raises ValueError if it is no JSON object, or has a `{name}` that is no placeholder."""
    try:
        msgspec.json.decode(template, type=dict[str, object])
    except msgspec.MsgspecError as error:
        raise ValueError(f"it is no JSON object ({error})") from None
    check_template(template)


def check_headers(text: str) -> None:
    """Raises ValueError if it is no JSON object of names and texts."""
    try:
        headers = msgspec.json.decode(text, type=dict[str, str])
    except msgspec.MsgspecError:
        raise ValueError('it is no JSON object of texts, such as {"X-Api-Key": "…"}') from None
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
        raise ValueError(f"{name!r} is no time zone such as Asia/Tehran") from None


@dataclasses.dataclass(frozen=True, slots=True)
class Operator:
    """Settings that every HTTP operator has."""

    title: ClassVar[str] = ""
    prefix: ClassVar[str] = ""

    url: str = setting(
        "Base URL of its API; the default is the operator simulator's.",
        default="http://127.0.0.1:8090",
        pattern=r"https?://.+",
        deployed_required=True,
    )
    token: str = setting("Bearer token we send.", default="development-only", deployed_required=True)
    receipt_token: str = setting(
        "Bearer token its delivery receipts must carry.", default="development-only", deployed_required=True
    )
    receipt_ips: list[str] = setting(
        "Networks its receipts may come from, comma separated (10.1.0.0/16,2001:db8::1); empty: any.",
        default=[],
        valid=ipaddress.ip_network,
    )
    receipt_secret: str = setting(
        "Secret of the HMAC-SHA256 that its receipts must bear in X-Receipt-Signature; empty: not asked for.",
        default="",
    )
    timeout: float = setting("Longest wait for an answer.", default=10.0, unit="seconds", minimum=0.1, maximum=300)
    in_flight: int = setting(
        "Submits that may wait for its answer at once, in a process.", default=200, minimum=1, maximum=10_000
    )
    segments_per_second: float = setting(
        "Pace that its contract allows a process; 0 is no limit.",
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
        "Names of operators spoken to by a mapped HTTP API; each has settings OPERATOR_NAME_….",
        default=[],
        unit="small letters and digits",
        pattern=NAME,
    )
    smpp: list[str] = setting(
        "Names of operators spoken to by SMPP 3.4; each has settings OPERATOR_NAME_….",
        default=[],
        unit="small letters and digits",
        pattern=NAME,
    )


@dataclasses.dataclass(frozen=True, slots=True)
class HttpOperator(Operator):
    """An operator whose HTTP API is described by settings: see docs/reference/operators.md."""

    title: ClassVar[str] = "An operator named by OPERATORS_HTTP"

    url: str = setting(
        "Where a message is submitted; may have placeholders.", pattern=r"https?://.+", valid=check_template
    )
    token: str = setting("Bearer token we send; empty sends none.", default="")
    receipt_token: str = setting("Bearer token its delivery receipts must carry.", pattern=r"\S{8,}")
    method: str = setting("HTTP method of a submit.", default="POST", choices=("POST", "PUT", "GET"))
    headers: str = setting("More headers, as a JSON object.", default="{}", valid=check_headers)
    body: str = setting(
        "Template of a submit's body: a JSON object whose texts have placeholders. GET sends none.",
        default='{"reference": "{reference}", "from": "{sender}", "to": "{recipient}", "text": "{text}"}',
        valid=check_body,
    )
    body_format: str = setting("How the body is sent.", default="json", choices=("json", "form"))
    answer: str = setting(
        "What it answers: a JSON document, or a text that is the operator's id.",
        default="json",
        choices=("json", "text"),
    )
    id_path: str = setting("Where the operator's id stands in a JSON answer, such as result.0.id.", default="id")
    code_path: str = setting(
        "Where a JSON answer has a code that tells what happened; empty: only the HTTP status tells.", default=""
    )
    code_ok: list[str] = setting(
        "Codes that mean that it took the message, such as 0, OK, true or null.", default=["0"]
    )
    throttled: list[str] = setting(
        "Codes and HTTP statuses (http_429, http_5xx) that mean: too fast.", default=["http_429"]
    )
    transient: list[str] = setting(
        "Codes and HTTP statuses after which a later try may succeed.",
        default=["http_401", "http_403", "http_408", "http_425", "http_3xx", "http_5xx"],
    )
    permanent: list[str] = setting(
        "Codes and HTTP statuses that refuse the message for good, before the other two lists; and so does what is on "
        "no list.",
        default=[],
    )
    receipt_reference: str = setting(
        "Where a receipt has our reference; empty: it has none, its id tells the message.", default=""
    )
    receipt_id: str = setting("Where a receipt has the operator's id.", default="id")
    receipt_status: str = setting("Where a receipt has the status.", default="status")
    receipt_statuses: list[str] = setting(
        "What its statuses mean: delivered, undelivered, expired, rejected or ignored.",
        default=["DELIVRD=delivered", "UNDELIV=undelivered", "EXPIRED=expired", "REJECTD=rejected", "ENROUTE=ignored"],
        pattern=rf"[^=]+=({'|'.join(RECEIPT_MEANINGS)})",
    )
    receipt_error: str = setting("Where a receipt has the operator's error; empty: nowhere.", default="")
    receipt_time: str = setting("Where a receipt has its time; empty: when it came.", default="")
    receipt_time_format: str = setting(
        "How that time is told.", default="iso", choices=("iso", "unix", "unix-milliseconds")
    )


@dataclasses.dataclass(frozen=True, slots=True)
class SmppOperator:
    """An operator spoken to by SMPP 3.4: see docs/reference/operators.md."""

    title: ClassVar[str] = "An operator named by OPERATORS_SMPP"
    prefix: ClassVar[str] = ""

    host: str = setting("Its SMSC.")
    port: int = setting("Its port.", default=2775, unit="TCP port", minimum=1, maximum=65535)
    tls: str = setting(
        "Whether the connection is encrypted, its certificate checked.", default="off", choices=("off", "on")
    )
    tls_ca_file: str = setting("CA certificates (PEM file); empty takes the system's.", default="", valid=check_file)
    system_id: str = setting("Name that we bind with.", pattern=r"[\x21-\x7e]{1,15}")
    password: str = setting("Password that we bind with.", pattern=r"[\x21-\x7e]{1,8}")
    system_type: str = setting("System type that we bind with.", default="", pattern=r"[\x20-\x7e]{0,12}")
    in_flight: int = setting(
        "The window: submits that may wait for an answer at once, on a connection.",
        default=10,
        minimum=1,
        maximum=10_000,
    )
    segments_per_second: float = setting(
        "Pace that its contract allows a connection; 0 is no limit.",
        default=0.0,
        unit="segments a second",
        minimum=0,
        maximum=100_000,
    )
    timeout: float = setting("Longest wait for an answer.", default=10.0, unit="seconds", minimum=0.1, maximum=300)
    enquire_link: float = setting(
        "Silence after which it is asked whether it lives; without an answer in time we bind anew.",
        default=30.0,
        unit="seconds",
        minimum=0.05,
        maximum=3600,
    )
    rebind_base: float = setting(
        "First delay before binding anew; it doubles with each failure.",
        default=0.5,
        unit="seconds",
        minimum=0.01,
        maximum=3600,
    )
    rebind_cap: float = setting("Longest of these delays.", default=60.0, unit="seconds", minimum=0.01, maximum=3600)
    long_messages: str = setting(
        "How a long message travels: user data headers, SAR parameters, or as one message_payload.",
        default="udh",
        choices=("udh", "sar", "payload"),
    )
    part_tries: int = setting(
        "Tries of a long message's later part before the whole message is tried anew.",
        default=5,
        minimum=1,
        maximum=100,
    )
    service_type: str = setting("Service type of each message.", default="", pattern=r"[\x20-\x7e]{0,5}")
    number_ton: int = setting("Type of number of senders of more than 8 digits.", default=1, minimum=0, maximum=6)
    number_npi: int = setting("Numbering plan of these.", default=1, minimum=0, maximum=18)
    short_ton: int = setting("Type of number of senders of up to 8 digits.", default=3, minimum=0, maximum=6)
    short_npi: int = setting("Numbering plan of these.", default=0, minimum=0, maximum=18)
    sender_charset: str = setting(
        "How the SMSC reads the octets of senders with letters: ISO 8859-1, which ASCII is a part of, or GSM 7-bit.",
        default="latin-1",
        choices=("latin-1", "gsm"),
    )
    recipient_ton: int = setting("Type of number of recipients.", default=1, minimum=0, maximum=6)
    recipient_npi: int = setting("Numbering plan of recipients.", default=1, minimum=0, maximum=18)
    validity: str = setting(
        "How long it may try: to the message's own end, or as it likes.",
        default="message",
        choices=("message", "operator"),
    )
    receipts: str = setting("Which receipts we ask for.", default="all", choices=("all", "failures", "none"))
    receipt_ids: str = setting(
        "How ids are written in answers and in receipts; other than as-is, both are kept as decimal numbers.",
        default="as-is",
        choices=("as-is", "hex-then-decimal", "decimal-then-hex"),
    )
    receipt_zone: str = setting(
        "Time zone of the done date in receipts; empty: a receipt's time is when it came.", default="", valid=check_zone
    )
    user_reference: str = setting(
        "Whether each message carries user_message_reference, the last 16 bits of our id.",
        default="off",
        choices=("off", "on"),
    )
    transient_statuses: list[str] = setting(
        "More command statuses after which a later try may succeed, such as 0x00000400.",
        default=[],
        pattern=r"0[xX][0-9a-fA-F]{1,8}",
    )
    permanent_statuses: list[str] = setting(
        "More command statuses that refuse the message for good.", default=[], pattern=r"0[xX][0-9a-fA-F]{1,8}"
    )
    throttled_statuses: list[str] = setting(
        "More command statuses that slow the whole connection, such as 0x14 where it means the queue of all numbers.",
        default=[],
        pattern=r"0[xX][0-9a-fA-F]{1,8}",
    )
