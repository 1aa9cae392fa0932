"""How a setting is declared."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Final

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
) -> Any:
    """A field of a settings group. `deployed_required`: the default is for development only.

    `valid` raises ValueError for a value that is not allowed. The error's text is logged, so do not use it for secrets.
    """
    declaration = Declaration(meaning, default, unit, minimum, maximum, choices, pattern, deployed_required, valid)
    return dataclasses.field(metadata={"declaration": declaration})
