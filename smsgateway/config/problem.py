"""What a start reports about settings."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class Problem:
    """One wrong, missing or unsafe setting: stable check id, what is wrong, how to fix it.

    Ids that begin with `smsgateway.E` stop the start, `smsgateway.W` only warn.
    """

    id: str
    message: str
    hint: str

    def __str__(self) -> str:
        return f"{self.id}: {self.message} {self.hint}"
