"""Reads the declared settings from the environment with django-environ.

A wrong or missing value never raises here: it becomes a `Problem`, so that a start reports all of them at once, one
line each (see `smsgateway.checks`).
"""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import environ

from smsgateway.config.kafka import complaints as kafka_complaints
from smsgateway.config.operator_complaints import http_complaints, smpp_complaints
from smsgateway.config.operators import HttpOperator, Operators, SmppOperator
from smsgateway.config.partitioning import complaints as partition_complaints
from smsgateway.config.setting_field import REQUIRED, Declaration
from smsgateway.config.settings import Config

DEPLOYED: Final = ("production", "staging")
BUILT_IN: Final = ("mci", "irancell")  # operators with a package of their own
OperatorGroup = TypeVar("OperatorGroup", HttpOperator, SmppOperator)
_TYPE_NAMES: Final = {int: "whole number", float: "number", str: "text"}


@dataclasses.dataclass(frozen=True, slots=True)
class Problem:
    """One wrong or missing setting: stable check id, what is wrong, how to fix it."""

    id: str
    message: str
    hint: str

    def __str__(self) -> str:
        return f"{self.id}: {self.message} {self.hint}"


def declarations() -> Iterator[tuple[str, Any, str, type, Declaration]]:
    """Yield `(group attribute, group class, environment name, type, declaration)` of every setting, in order.

    Leaves out the operators that OPERATORS_HTTP and OPERATORS_SMPP name: see `operator_declarations`.
    """
    for attribute, group in typing.get_type_hints(Config).items():
        if typing.get_origin(group) is not dict:
            for name, kind, declared in _declared(group, group.prefix):
                yield attribute, group, name, kind, declared


def operator_declarations(operator: str, group: type) -> Iterator[tuple[str, type, Declaration]]:
    """Yield `(environment name, type, declaration)` of each setting of an operator of this kind."""
    return _declared(group, f"OPERATOR_{operator.upper()}_")


def _declared(group: Any, prefix: str) -> Iterator[tuple[str, type, Declaration]]:
    hints = typing.get_type_hints(group)
    for field in dataclasses.fields(group):
        yield prefix + field.name.upper(), hints[field.name], field.metadata["declaration"]


def read_files(*paths: Path) -> None:
    """Add the settings of these files to the environment. A value in the environment wins, then the earlier file."""
    for path in paths:
        if path.is_file():
            environ.Env.read_env(path)


def load(environment: Mapping[str, str]) -> tuple[Config, list[Problem]]:
    """Read every declared setting. A wrong one takes its default (or an empty value) and is reported as a problem."""
    env = environ.Env()
    env.ENVIRON = dict(environment)
    problems: list[Problem] = []
    groups = {
        attribute: _read_group(env, group, group.prefix, problems)
        for attribute, group in typing.get_type_hints(Config).items()
        if typing.get_origin(group) is not dict
    }
    operators: Operators = groups["operators"]
    named: dict[str, Any] = {}
    kinds: tuple[tuple[str, list[str], Any, Callable[[Any], Iterable[str]]], ...] = (
        ("HTTP", operators.http, HttpOperator, http_complaints),
        ("SMPP", operators.smpp, SmppOperator, smpp_complaints),
    )
    for kind, names, group, complaints in kinds:
        for name in names:
            if name in BUILT_IN or name in named:
                problems.append(_wrong(f"OPERATORS_{kind} names {name!r}, which is taken.", "Choose another name."))
            else:
                prefix = f"OPERATOR_{name.upper()}_"
                named[name] = _read_group(env, group, prefix, problems)
                problems += [_wrong(prefix + message, "Change one of the two.") for message in complaints(named[name])]
    if (default := groups["routing"].default) not in (known := (*BUILT_IN, *named)):
        message = f"OPERATOR_DEFAULT is {default!r}, not one of {', '.join(known)}."
        problems.append(_wrong(message, "Name it in OPERATORS_HTTP or OPERATORS_SMPP, or choose one of these."))
    for message in partition_complaints(
        groups["partitions"],
        validity=groups["sms"].validity,
        receipt_wait=groups["receipts"].wait,
        match_days=groups["receipts"].match_days,
    ):
        problems.append(_wrong(message, "Raise it, or set 0 to keep them forever."))
    for message in kafka_complaints(
        groups["kafka"], validity=groups["sms"].validity, retry_cap=groups["worker"].retry_cap
    ):
        problems.append(_wrong(message, "Raise it, then run manage.py create_kafka_topics."))
    if groups["general"].environment in DEPLOYED and groups["callback"].allow_private == "true":
        message = "CALLBACK_ALLOW_PRIVATE is true: customers could make the gateway call addresses of its own network."
        hint = "Remove it, or set even-deployed if you intend this here."
        problems.append(Problem("smsgateway.E004", message, hint))
    of_http = {name: group for name, group in named.items() if isinstance(group, HttpOperator)}
    of_smpp = {name: group for name, group in named.items() if isinstance(group, SmppOperator)}
    return Config(**groups, http_operators=of_http, smpp_operators=of_smpp), problems


def _read_group(env: environ.Env, group: Any, prefix: str, problems: list[Problem]) -> Any:
    deployed = env.ENVIRON.get("ENVIRONMENT") in DEPLOYED
    values = {}
    for name, kind, declared in _declared(group, prefix):
        value, found = _read_one(env, name, kind, declared, deployed=deployed)
        if found:
            problems.append(Problem(f"smsgateway.{found[0]}", found[1], _hint(name, declared)))
        values[name.removeprefix(prefix).lower()] = value
    return group(**values)


def operator_changed(operator: OperatorGroup, changes: Mapping[str, str]) -> tuple[OperatorGroup, list[Problem]]:
    """An operator's settings with `changes`, by their names without the prefix, and what is wrong with these."""
    env = environ.Env()
    env.ENVIRON = {f"OPERATOR_{name.upper()}": value for name, value in changes.items()}
    problems = [
        _wrong(f"{name} is no setting of this kind of operator.", "Name it as in docs/reference/operators.md.")
        for name in changes
        if name.lower() not in {field.name for field in dataclasses.fields(operator)}
    ]
    values = {}
    for name, kind, declared in _declared(type(operator), "OPERATOR_"):
        if name in env.ENVIRON:
            value, found = _read_one(env, name, kind, declared, deployed=False)
            values[name.removeprefix("OPERATOR_").lower()] = value
            if found:
                problems.append(_wrong(found[1].removeprefix("OPERATOR_"), declared.meaning))
    return dataclasses.replace(operator, **values), problems


def _wrong(message: str, hint: str) -> Problem:
    return Problem("smsgateway.E003", message, hint)


def _read_one(
    env: environ.Env, name: str, kind: type, declared: Declaration, *, deployed: bool
) -> tuple[Any, tuple[str, str] | None]:
    """The value, and `(check id, message)` if it is wrong or missing."""
    is_list = typing.get_origin(kind) is list
    required = declared.default is REQUIRED or (deployed and declared.deployed_required)
    fallback = kind() if declared.default is REQUIRED else declared.default
    if not env.ENVIRON.get(name, "").strip():
        return fallback, ("E001", f"{name} is not set.") if required else None
    try:
        value = [part.strip() for part in env.list(name)] if is_list else env.get_value(name, cast=kind)
    except (ValueError, environ.ImproperlyConfigured):
        return fallback, ("E002", f"{name} is {env.ENVIRON[name]!r}, which is not a {_TYPE_NAMES[kind]}.")
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
                return "does not have the required form"  # does not show the value, which may be a secret
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
