"""The settings of operators: two that are built in, and any number that settings alone describe."""

from __future__ import annotations

import dataclasses
import ipaddress
from typing import ClassVar, Final

from smsgateway.config.operator_checks import (
    ADDRESS_TYPE,
    check_body,
    check_file,
    check_headers,
    check_template,
    check_tlv,
    check_zone,
)
from smsgateway.config.setting_field import setting

# No underscore, so that OPERATOR_A_B_… cannot be a setting of both `a` and `a_b`.
NAME: Final = r"[a-z][a-z0-9]{0,31}"
RECEIPT_MEANINGS: Final = ("delivered", "undelivered", "expired", "rejected", "intermediate", "ignored")


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
    receipt_auth: str = setting(
        "Where receipts carry the receipt token: Authorization: Bearer, Authorization: Basic (as the password, or as "
        "user:password), the field of the query that RECEIPT_TOKEN_FIELD names, or any of these.",
        default="bearer",
        choices=("bearer", "basic", "query", "any"),
    )
    receipt_token_field: str = setting(
        "Field of the query with the receipt token.", default="token", pattern=r"[A-Za-z0-9_.-]{1,40}"
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
        "Format of the operator's response: a JSON document, plain text that is the operator's id, a form (a=1&b=2), "
        "or XML.",
        default="json",
        choices=("json", "text", "form", "xml"),
    )
    id_path: str = setting("Path of the operator's id in a response, such as result.0.id.", default="id")
    code_path: str = setting("Path of the result code in a response; empty: only the HTTP status counts.", default="")
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
    id_comparison: str = setting(
        "Comparison of the ids in responses and receipts: exact, without leading zeros, without case, or as numbers.",
        default="exact",
        choices=("exact", "ignore-zeros", "ignore-case", "numeric"),
    )
    receipt_reference: str = setting(
        "Path of our reference in a receipt; empty: receipts are matched by the operator's id alone.", default=""
    )
    receipt_id: str = setting("Path of the operator's id in a receipt.", default="id")
    receipt_status: str = setting("Path of the status in a receipt.", default="status")
    receipt_statuses: list[str] = setting(
        "Meaning of further receipt statuses: delivered, undelivered, expired, rejected, intermediate (kept, another "
        "receipt follows) or ignored. They come before the usual words.",
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
    reference: str = setting(
        "Reference that joins the parts of a long message: random (from the message's id), or a counter.",
        default="random",
        choices=("random", "counter"),
    )
    reference_bits: str = setting(
        "Bits of this reference in user data headers. 16 are used where they need no more parts than 8.",
        default="8",
        choices=("8", "16"),
    )
    alphabet: str = setting(
        "Alphabet of texts in the default data coding: GSM 7-bit with one octet per character, or packed; Latin-1; "
        "ASCII. A text that it lacks is sent as UCS-2.",
        default="gsm",
        choices=("gsm", "gsm-packed", "latin-1", "ascii"),
    )
    data_coding: int = setting(
        "data_coding of texts in this alphabet.", default=0, unit="octet", minimum=0, maximum=255
    )
    tlvs: list[str] = setting(
        "Parameters added to each submit_sm: TAG=VALUE, TAG:cstring=VALUE, TAG:int1=, int2=, int4= or TAG:hex=. The "
        "value may have placeholders; without a value the parameter is left out.",
        default=[],
        valid=check_tlv,
    )
    service_type: str = setting("service_type of each message.", default="", pattern=r"[\x20-\x7e]{0,5}")
    interface_version: str = setting(
        "Version of SMPP that the bind names.", default="3.4", choices=("3.3", "3.4", "5.0")
    )
    sender_types: list[str] = setting(
        "TON and NPI of senders by pattern, such as 98*=1/1 or ?????=3/0; the first that fits counts, before the "
        "settings below. * stands for any characters, ? for one.",
        default=[],
        pattern=ADDRESS_TYPE,
    )
    recipient_types: list[str] = setting(
        "TON and NPI of recipients by pattern, as in SENDER_TYPES.", default=[], pattern=ADDRESS_TYPE
    )
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
    validity_form: str = setting(
        "Form of the validity_period: a duration, or a moment in UTC.",
        default="relative",
        choices=("relative", "absolute"),
    )
    longest_validity: int = setting(
        "Longest validity_period that the operator takes; a longer one is shortened to it. 0: no limit.",
        default=0,
        unit="seconds",
        minimum=0,
        maximum=31 * 86_400,
    )
    receipts: str = setting("Receipts requested with each message.", default="all", choices=("all", "failures", "none"))
    receipt_ids: str = setting(
        "Notation of ids in submit responses and in the text of receipts; unless as-is, both are stored as decimal "
        "numbers.",
        default="as-is",
        choices=("as-is", "decimal", "hexadecimal", "hex-then-decimal", "decimal-then-hex"),
    )
    tlv_ids: str = setting(
        "Notation of the id in the parameter receipted_message_id; auto: that of the response or of the text, "
        "whichever agrees with the text.",
        default="auto",
        choices=("auto", "decimal", "hexadecimal"),
    )
    id_comparison: str = setting(
        "Comparison of the ids in responses and receipts: exact, without leading zeros, without case, or as numbers.",
        default="exact",
        choices=("exact", "ignore-zeros", "ignore-case", "numeric"),
    )
    receipt_source: str = setting(
        "Part of a receipt that counts: both, which must agree, the parameters alone, or the text alone.",
        default="both",
        choices=("both", "parameters", "text"),
    )
    receipt_statuses: list[str] = setting(
        "Meaning of further words for the status in receipts, such as BUFFRED=intermediate; they come before the "
        "usual ones.",
        default=[],
        pattern=rf"[^=]+=({'|'.join(RECEIPT_MEANINGS)})",
    )
    receipt_alphabet: str = setting(
        "Alphabet of a receipt's text; auto: the one that yields an id and a status.",
        default="auto",
        choices=("auto", "ascii", "latin-1", "gsm", "gsm-packed", "ucs2"),
    )
    receipts_unmarked: str = setting(
        "Reads a message whose esm_class marks it as from a phone as a receipt if it has the form of one. Turn it on "
        "only if the operator sends receipts so: a phone could forge one.",
        default="off",
        choices=("off", "on"),
    )
    receipt_part: str = setting(
        "Part of a long message whose receipt speaks for the message: all of them together, the first, the last, or "
        "any.",
        default="all",
        choices=("all", "first", "last", "any"),
    )
    receipt_tlvs: list[str] = setting(
        "Parameters of receipts that are kept with the message, such as 0x1403.",
        default=[],
        pattern=r"0[xX][0-9a-fA-F]{1,4}",
    )
    receipt_zone: str = setting(
        "Time zone of the done date in receipts that name none; empty: the time of arrival is used.",
        default="",
        valid=check_zone,
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
    credential_statuses: list[str] = setting(
        "Command statuses of a bind that say that system id, password or system type are wrong.",
        default=["0x0E", "0x0F", "0x53"],
        pattern=r"0[xX][0-9a-fA-F]{1,8}",
    )
    bind_limit_statuses: list[str] = setting(
        "Command statuses of a bind that say that too many connections are bound.",
        default=["0x05"],
        pattern=r"0[xX][0-9a-fA-F]{1,8}",
    )
    credential_delay: float = setting(
        "Delay before binding again after the operator refused the credentials: many block an account that goes on "
        "trying.",
        default=300.0,
        unit="seconds",
        minimum=0.01,
        maximum=86_400,
    )
    bind_limit_delay: float = setting(
        "First delay before binding again after the operator had too many connections; it doubles up to ten times "
        "this.",
        default=10.0,
        unit="seconds",
        minimum=0.01,
        maximum=3600,
    )
    throttled_statuses: list[str] = setting(
        "Further command statuses that slow the whole connection, such as 0x14 if it means the queue of all numbers.",
        default=[],
        pattern=r"0[xX][0-9a-fA-F]{1,8}",
    )
