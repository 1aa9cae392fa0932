"""How a setting is declared."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

REQUIRED: Final = object()


@dataclasses.dataclass(frozen=True, slots=True)
class Declaration:
    """What is known of one setting besides its type."""

    meaning: str
    default: Any
    unit: str
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...]
    pattern: str
    deployed_required: bool


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
) -> Any:
    """A field of a settings group. `deployed_required`: the default serves development only."""
    declaration = Declaration(meaning, default, unit, minimum, maximum, choices, pattern, deployed_required)
    return dataclasses.field(metadata={"declaration": declaration})
