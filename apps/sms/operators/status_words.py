"""The words for a message's state in receipts, over SMPP and HTTP, and what each means.

The standard has eight words (SMPP 3.4, appendix B); operators write them in full, shortened or misspelt, and invent
others.
An operator's settings add words and change these.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from typing import Final, Literal, cast, get_args

Meaning = Literal["delivered", "undelivered", "expired", "rejected", "intermediate", "ignored"]
MEANINGS: Final[tuple[str, ...]] = get_args(Meaning)

# One line for each standard word and its relatives. `intermediate`: the message is on its way, another receipt follows.
DEFAULTS: Final[Mapping[Meaning, tuple[str, ...]]] = {
    "delivered": (
        "DELIVRD DELIVERED DELIVERD DELIVRED DELIVERED_TO_HANDSET DELIVERED_TO_TERMINAL DELIVD DELVRD DELIVERY_SUCCESS",
        "DLVRD DLVRED SUCCESS SUCCESSFUL READ SEEN",
    ),
    "undelivered": (
        "UNDELIV UNDELIVERED UNDELIVERABLE UNDELIVRD UNDELIVERD UNDELIVRED UNDELIVD UNDELVRD UNDLIV",
        "UNDELIVERED_TO_HANDSET UNDELIVERABL UNDELIVE UNDELIVER NOT_DELIVERED NOTDELIVRD NON_DELIVERED DELIVERY_FAILED",
        "DELIVERY_FAILURE",
        "DELETED DELETD DELETE CANCELED CANCELLED CANCELD CANCELLD ABORTED DROPPED",
        "FAILED FAIL FAILURE FAILD ERROR SKIPPED SKIPPD",
    ),
    "expired": ("EXPIRED EXPIRD EXPIRE EXPRD EXPIRED_MESSAGE",),
    "rejected": (
        "REJECTD REJECTED REJECT REJCTD REJCTED REJCTED REJETED REFUSED BLOCKED BARRED BLACKLISTED BLACKLIST BLKLIST",
        "DND SPAM FORBIDDEN DENIED INVALID UNROUTABLE",
    ),
    "intermediate": (
        "ENROUTE ENROUT EN_ROUTE ACCEPTD ACCEPTED ACCEPT ACKED ACK ACKNOWLEDGED BUFFRED BUFFERED BUFFERD BUFRED BUFFRD",
        "SCHEDULED SCHEDLD SCHEDULD QUEUED PENDING SENT SENDING DISPATCHED SUBMITTED SUBMITD SUBMIT RETRY RETRYING",
        "INPROGRESS IN_PROGRESS PROCESSING FORWARDED TRANSIT UNKNOWN UNKNOWN_STATUS UNKNOWNSTATE",
    ),
}
_NEGATIONS: Final = frozenset({"NOT", "NO", "NEVER", "NON"})


@functools.lru_cache(maxsize=1000)
def _folded(word: str) -> str:
    """The word for comparisons: without case, blanks and punctuation. A number keeps its point."""
    upper = word.strip().upper()
    return re.sub(r"[^0-9A-Z]", "", upper) if re.search(r"[A-Z]", upper) else upper


_DEFAULTS: Final[dict[str, Meaning]] = {
    _folded(word): meaning for meaning, lines in DEFAULTS.items() for line in lines for word in line.split()
}


class StatusWords:
    """The default words with an operator's own."""

    def __init__(self, changes: Iterable[str] = ()) -> None:
        """`changes`: entries such as `BUFFRED=undelivered` of a setting."""
        self._meanings = dict(_DEFAULTS)
        for entry in changes:
            word, _, meaning = entry.rpartition("=")
            self._meanings[_folded(word)] = cast(Meaning, meaning)

    def meaning(self, text: str) -> Meaning | None:
        """The meaning of a word, or of several such as `DELIVERED TO HANDSET`; None if it is not known.

        Words after a known one are ignored unless they could turn its meaning.
        """
        if not (folded := _folded(text)):
            return None
        if found := self._meanings.get(folded):
            return found
        words = [_folded(word) for word in text.split()]
        first = self._meanings.get(words[0]) if words else None
        for word in words[1:]:
            if word in _NEGATIONS or self._meanings.get(word, first) != first:
                return None
        return first
