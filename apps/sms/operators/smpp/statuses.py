"""What an SMSC's command statuses mean, and what each is about. Source: SMPP 3.4, section 5.1.3.

- The pace of the connection: 0x58 alone.
- The connection or our account: statuses of a bind or of the protocol.
- The message: permanent refusals, and 0x14, its recipient's queue is full.
- The message or the operator: all others (0x08, 0x45, unknown ones). They count against the operator only if several
  different numbers fail with them in a row (see `CircuitBreaker`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from apps.sms.operators.base import PermanentSubmitError, QueueFull, SubmitError, Throttled, TransientSubmitError

OK: Final = 0x00
INVALID_LENGTH: Final = 0x02
INVALID_COMMAND: Final = 0x03
ALREADY_BOUND: Final = 0x05
SYSTEM_ERROR: Final = 0x08
BIND_FAILED: Final = 0x0D
INVALID_DESTINATION: Final = 0x0B
INVALID_PASSWORD: Final = 0x0E
QUEUE_FULL: Final = 0x14
THROTTLED: Final = 0x58
TEMPORARY_RECEIVER_ERROR: Final = 0x64

NAMES: Final = {
    0x01: "ESME_RINVMSGLEN",
    0x02: "ESME_RINVCMDLEN",
    0x03: "ESME_RINVCMDID",
    0x04: "ESME_RINVBNDSTS",
    0x05: "ESME_RALYBND",
    0x06: "ESME_RINVPRTFLG",
    0x07: "ESME_RINVREGDLVFLG",
    0x08: "ESME_RSYSERR",
    0x0A: "ESME_RINVSRCADR",
    0x0B: "ESME_RINVDSTADR",
    0x0C: "ESME_RINVMSGID",
    0x0D: "ESME_RBINDFAIL",
    0x0E: "ESME_RINVPASWD",
    0x0F: "ESME_RINVSYSID",
    0x14: "ESME_RMSGQFUL",
    0x15: "ESME_RINVSERTYP",
    0x40: "ESME_RINVDESTFLAG",
    0x42: "ESME_RINVSUBREP",
    0x43: "ESME_RINVESMCLASS",
    0x45: "ESME_RSUBMITFAIL",
    0x48: "ESME_RINVSRCTON",
    0x49: "ESME_RINVSRCNPI",
    0x50: "ESME_RINVDSTTON",
    0x51: "ESME_RINVDSTNPI",
    0x53: "ESME_RINVSYSTYP",
    0x54: "ESME_RINVREPFLAG",
    0x55: "ESME_RINVNUMMSGS",
    0x58: "ESME_RTHROTTLED",
    0x61: "ESME_RINVSCHED",
    0x62: "ESME_RINVEXPIRY",
    0x63: "ESME_RINVDFTMSGID",
    0x64: "ESME_RX_T_APPN",
    0x65: "ESME_RX_P_APPN",
    0x66: "ESME_RX_R_APPN",
    0xC0: "ESME_RINVOPTPARSTREAM",
    0xC1: "ESME_ROPTPARNOTALLWD",
    0xC2: "ESME_RINVPARLEN",
    0xC3: "ESME_RMISSINGOPTPARAM",
    0xC4: "ESME_RINVOPTPARAMVAL",
    0xFE: "ESME_RDELIVERYFAILURE",
    0xFF: "ESME_RUNKNOWNERR",
}

_THROTTLING: Final = frozenset({THROTTLED})
_FULL: Final = frozenset({QUEUE_FULL})
# They are about the connection or our account: every other submit fails too.
_OF_THE_CONNECTION: Final = frozenset({0x03, 0x04, 0x05, 0x0D, 0x0E, 0x0F, 0x53})
# They are about the message: it would be refused again.
_PERMANENT: Final = frozenset(
    {0x01, 0x02, 0x06, 0x07, 0x0A, 0x0B, 0x15, 0x40, 0x42, 0x43, 0x48, 0x49, 0x50, 0x51, 0x54, 0x55, 0x61, 0x62, 0x63}
    | {0x65, 0x66, 0xC0, 0xC1, 0xC2, 0xC3, 0xC4, 0xFE}
)


def name_of(status: int) -> str:
    """The standard name of a command status, or its number."""
    return NAMES.get(status) or f"0x{status:08X}"


class Meanings:
    """The table, with the changes that an operator's settings make to it."""

    def __init__(self, *, transient: list[str], permanent: list[str], throttled: Sequence[str] = ()) -> None:
        """Statuses as hexadecimal texts."""
        added, refusing, slowing = (
            frozenset(int(status, 16) for status in listed) for listed in (transient, permanent, throttled)
        )
        changed = added | refusing | slowing
        self._known = changed | NAMES.keys()
        self._permanent = (_PERMANENT - changed) | (refusing - slowing)
        self._throttling = (_THROTTLING - changed) | slowing
        self._full = _FULL - changed

    def error(self, status: int) -> SubmitError:
        """The error to raise for a status other than ESME_ROK. Unknown statuses are retried."""
        if status in self._throttling:
            return Throttled()
        if status in self._full:
            return QueueFull(name_of(status))
        if status in self._permanent:
            return PermanentSubmitError(name_of(status))
        # The code becomes a metric's label, and an SMSC may send any of 2**32 statuses.
        code = name_of(status) if status in self._known else "unknown_status"
        return TransientSubmitError(code, concerns="operator" if status in _OF_THE_CONNECTION else "unclear")
