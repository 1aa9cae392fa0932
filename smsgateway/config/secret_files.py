"""Secrets from files, as Docker and Kubernetes mount them: NAME_FILE names the file whose text is the value of NAME."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from smsgateway.config.problem import Problem

SUFFIX: Final = "_FILE"
_LARGEST: Final = 65_536


def with_files(environment: Mapping[str, str], names: Iterable[str]) -> tuple[dict[str, str], list[Problem]]:
    """The environment with the values that files hold. `names`: the secrets that may come from a file.

    One line break at the end of a file is no part of the secret.
    """
    found = dict(environment)
    problems = []
    for name in names:
        path = environment.get(name + SUFFIX, "").strip()
        if not path:
            continue
        if environment.get(name, "").strip():
            message = f"{name} and {name}{SUFFIX} are both set."
            problems.append(Problem("smsgateway.E007", message, "Keep one of the two."))
            continue
        try:
            found[name] = _read(Path(path))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            message = f"{name}{SUFFIX} is {path!r}, which cannot be read: {reason}."
            hint = f"Mount a file with the value of {name} there, readable by the process's user."
            problems.append(Problem("smsgateway.E007", message, hint))
            found[name] = _UNREAD
    return found, problems


_UNREAD: Final = "\0"


def was_unread(value: str) -> bool:
    """Whether the value's file could not be read, which is reported already."""
    return value == _UNREAD


def _read(path: Path) -> str:
    with path.open("rb") as file:
        text = file.read(_LARGEST + 1).decode()
    if len(text) > _LARGEST:
        raise ValueError("it is larger than 64 kB")
    text = text.removesuffix("\n").removesuffix("\r")
    if not text.strip():
        raise ValueError("it is empty")
    if "\0" in text:
        raise ValueError("it is not a text file")
    return text
