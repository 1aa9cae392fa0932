"""How a setting is declared."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Final

from smsgateway.config.durations import UNITS

REQUIRED: Final = object()


@dataclasses.dataclass(frozen=True, slots=True)
class Declaration:
    """Everything about one setting except its name and type."""

    meaning: str
    default: Any
    unit: str
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...]
    pattern: str
    deployed_required: bool
    valid: Callable[[str], object] | None
    secret: int | None

    @property
    def is_secret(self) -> bool:
        """Whether NAME_FILE may name a file with the value."""
        return self.secret is not None

    @property
    def is_duration(self) -> bool:
        """Whether the value may carry its own unit: 72h."""
        return self.unit in UNITS


def setting(
    meaning: str,
    *,
    default: Any = REQUIRED,
    unit: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
    pattern: str = "",
    deployed_required: bool = False,
    valid: Callable[[str], object] | None = None,
    secret: int | None = None,
) -> Any:
    """A field of a settings group. `deployed_required`: the default is for development only.

    `valid` raises ValueError for a value that is not allowed. The error's text is logged, so do not use it for secrets.
    `secret`: the fewest characters of this secret in production and staging; None: it is no secret. NAME_FILE may name
    a file that holds it. Of a URL only the password is one.
    """
    declaration = Declaration(
        meaning, default, unit, minimum, maximum, choices, pattern, deployed_required, valid, secret
    )
    return dataclasses.field(metadata={"declaration": declaration})
