"""Reads the declared settings from the environment with django-environ.

A wrong or missing value never raises here: it becomes a `Problem`, so that a start reports all of them at once, one
line each (see `smsgateway.checks`).
"""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import environ

from smsgateway.config.declare import REQUIRED, Declaration
from smsgateway.config.groups import Config

DEPLOYED: Final = ("production", "staging")
_TYPE_NAMES: Final = {int: "whole number", float: "number", str: "text"}


@dataclasses.dataclass(frozen=True, slots=True)
class Problem:
    """One wrong or missing setting: stable check id, what is wrong, how to mend it."""

    id: str
    message: str
    hint: str

    def __str__(self) -> str:
        return f"{self.id}: {self.message} {self.hint}"


def declarations() -> Iterator[tuple[str, Any, str, type, Declaration]]:
    """Yield `(group attribute, group class, environment name, type, declaration)` of every setting, in order."""
    for attribute, group in typing.get_type_hints(Config).items():
        hints = typing.get_type_hints(group)
        for field in dataclasses.fields(group):
            name = group.prefix + field.name.upper()
            yield attribute, group, name, hints[field.name], field.metadata["declaration"]


def read_files(*paths: Path) -> None:
    """Add the settings of these files to the environment; what stands there already wins, then the earlier file."""
    for path in paths:
        if path.is_file():
            environ.Env.read_env(path)


def load(environment: Mapping[str, str]) -> tuple[Config, list[Problem]]:
    """Read every declared setting. A wrong one takes its default (or an empty value) and is told as a problem."""
    env = environ.Env()
    env.ENVIRON = dict(environment)
    deployed = environment.get("ENVIRONMENT") in DEPLOYED
    problems: list[Problem] = []
    values: dict[str, dict[str, Any]] = {}
    groups: dict[str, Any] = {}
    for attribute, group, name, kind, declared in declarations():
        groups[attribute] = group
        value, found = _read_one(env, name, kind, declared, deployed=deployed)
        if found:
            problems.append(Problem(f"smsgateway.{found[0]}", found[1], _hint(name, declared)))
        values.setdefault(attribute, {})[name.removeprefix(group.prefix).lower()] = value
    return Config(**{attribute: groups[attribute](**found) for attribute, found in values.items()}), problems


def _read_one(
    env: environ.Env, name: str, kind: type, declared: Declaration, *, deployed: bool
) -> tuple[Any, tuple[str, str] | None]:
    """The value, and the check id with what is wrong of it."""
    is_list = typing.get_origin(kind) is list
    required = declared.default is REQUIRED or (deployed and declared.deployed_required)
    fallback = kind() if declared.default is REQUIRED else declared.default
    if not env.ENVIRON.get(name, "").strip():
        return fallback, ("E001", f"{name} is not set.") if required else None
    try:
        value = [part.strip() for part in env.list(name)] if is_list else env.get_value(name, cast=kind)
    except (ValueError, environ.ImproperlyConfigured):
        return fallback, ("E002", f"{name} is {env.ENVIRON[name]!r}, which is no {_TYPE_NAMES[kind]}.")
    if complaint := _complaint(value, declared):
        return fallback, ("E003", f"{name} {complaint}.")
    return value, None


def _complaint(value: Any, declared: Declaration) -> str:
    if declared.choices and value not in declared.choices:
        return f"is {value!r}, not one of {', '.join(declared.choices)}"
    if declared.minimum is not None and not declared.minimum <= value <= typing.cast(float, declared.maximum):
        return f"is {value}, not between {declared.minimum} and {declared.maximum}"
    if declared.pattern:
        for part in value if isinstance(value, list) else [value]:
            if not re.fullmatch(declared.pattern, part):
                return "is not of the form it must have"  # the value may be a secret: it is not repeated
    if declared.valid:
        for part in value if isinstance(value, list) else [value]:
            try:
                declared.valid(part)
            except ValueError as error:
                return f"is wrong: {error}"
    return ""


def _hint(name: str, declared: Declaration) -> str:
    unit = f" ({declared.unit})" if declared.unit else ""
    return f"Set {name}{unit} in the environment or .env: {declared.meaning}"
