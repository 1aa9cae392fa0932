"""Reads the declared settings from the environment.

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

from smsgateway.config.console import complaints as admin_complaints
from smsgateway.config.durations import in_unit
from smsgateway.config.kafka import complaints as kafka_complaints
from smsgateway.config.operator_complaints import http_complaints, smpp_complaints
from smsgateway.config.operators import HttpOperator, Operators, SmppOperator
from smsgateway.config.partitioning import complaints as partition_complaints
from smsgateway.config.problem import Problem
from smsgateway.config.secret_files import SUFFIX, was_unread, with_files
from smsgateway.config.setting_field import REQUIRED, Declaration
from smsgateway.config.settings import Config
from smsgateway.config.unknown_names import unknown_names
from smsgateway.config.unsafe import unsafe_settings
from smsgateway.config.weak_secrets import complaint as secret_complaint
from smsgateway.config.weak_secrets import url_complaint

DEPLOYED: Final = ("production", "staging")
BUILT_IN: Final = ("mci", "irancell")  # operators with a package of their own
OperatorGroup = TypeVar("OperatorGroup", HttpOperator, SmppOperator)
_WEAK_HINT: Final = (
    "Set the real one in {name}, or in the file that {name}_FILE names. This makes a new one: "
    "python3 -c 'import secrets; print(secrets.token_urlsafe(48))'"
)
_TYPE_NAMES: Final = {int: "whole number", float: "number", str: "text"}


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
    given, problems = with_files(environment, _secrets(environment))
    groups = {
        attribute: _read_group(given, group, group.prefix, problems)
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
                named[name] = _read_group(given, group, prefix, problems)
                problems += [_wrong(prefix + message, "Change one of the two.") for message in complaints(named[name])]
    if groups["general"].environment in DEPLOYED:
        for name in BUILT_IN:
            groups[name] = _optional_operator(given, name, groups[name], problems)
    known = (*(name for name in BUILT_IN if groups[name].url), *named)
    if (default := groups["routing"].default) not in known:
        if given.get("OPERATOR_DEFAULT", "").strip():
            message = (
                f"OPERATOR_DEFAULT is {default!r}, not one of {', '.join(known) or 'the operators: there are none'}."
            )
            problems.append(_wrong(message, "Name it in OPERATORS_HTTP or OPERATORS_SMPP, or choose one of these."))
        groups["routing"] = dataclasses.replace(groups["routing"], default=next(iter(known), ""))
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
    for message in admin_complaints(groups["admin"]):
        problems.append(_wrong(message, "docs/reference/console.md describes the logins."))
    of_http = {name: group for name, group in named.items() if isinstance(group, HttpOperator)}
    of_smpp = {name: group for name, group in named.items() if isinstance(group, SmppOperator)}
    config = Config(**groups, http_operators=of_http, smpp_operators=of_smpp)
    if config.general.environment in DEPLOYED:
        reported = {problem.message.partition(" ")[0] for problem in problems}
        problems += [found for found in unsafe_settings(config) if found.message.partition(" ")[0] not in reported]
    return config, problems


def warnings(environment: Mapping[str, str]) -> list[Problem]:
    """A warning for each set variable that looks like a setting and is none."""
    operators = _named_operators(environment)
    known = {name for name, _ in _all_declarations(environment)}
    known |= {f"{name}{SUFFIX}" for name in _secrets(environment)}
    prefixes = {group.prefix for _, group, *_ in declarations() if group.prefix}
    return list(unknown_names(environment, known=known, prefixes=prefixes, operators=[*BUILT_IN, *operators]))


def _secrets(environment: Mapping[str, str]) -> list[str]:
    return [name for name, declared in _all_declarations(environment) if declared.is_secret]


def _all_declarations(environment: Mapping[str, str]) -> Iterator[tuple[str, Declaration]]:
    """The name and declaration of every setting, including those of the named operators."""
    yield from ((name, declared) for _, _, name, _, declared in declarations())
    for operator, group in _named_operators(environment).items():
        yield from ((name, declared) for name, _, declared in operator_declarations(operator, group))


def _named_operators(environment: Mapping[str, str]) -> dict[str, type]:
    found: dict[str, type] = {}
    for name, group in (("OPERATORS_HTTP", HttpOperator), ("OPERATORS_SMPP", SmppOperator)):
        found |= dict.fromkeys(filter(None, (part.strip() for part in environment.get(name, "").split(","))), group)
    return found


def _read_group(given: Mapping[str, str], group: Any, prefix: str, problems: list[Problem]) -> Any:
    deployed = given.get("ENVIRONMENT", "").strip() in DEPLOYED
    values = {}
    for name, kind, declared in _declared(group, prefix):
        value, found = _read_one(given.get(name, ""), name, kind, declared, deployed=deployed)
        if found:
            hint = _WEAK_HINT.format(name=name) if found[0] == "E005" else _hint(name, declared)
            problems.append(Problem(f"smsgateway.{found[0]}", found[1], hint))
        values[name.removeprefix(prefix).lower()] = value
    return group(**values)


def operator_changed(operator: OperatorGroup, changes: Mapping[str, str]) -> tuple[OperatorGroup, list[Problem]]:
    """An operator's settings with `changes`, by their names without the prefix, and what is wrong with these."""
    given = {f"OPERATOR_{name.upper()}": value for name, value in changes.items()}
    problems = [
        _wrong(f"{name} is no setting of this kind of operator.", "Name it as in docs/reference/operators.md.")
        for name in changes
        if name.lower() not in {field.name for field in dataclasses.fields(operator)}
    ]
    values = {}
    for name, kind, declared in _declared(type(operator), "OPERATOR_"):
        if name in given:
            value, found = _read_one(given[name], name, kind, declared, deployed=False)
            values[name.removeprefix("OPERATOR_").lower()] = value
            if found:
                problems.append(_wrong(found[1].removeprefix("OPERATOR_"), declared.meaning))
    return dataclasses.replace(operator, **values), problems


def _optional_operator(given: Mapping[str, str], name: str, group: Any, problems: list[Problem]) -> Any:
    """A built-in operator of a deployment: it exists if its URL is set, and then needs its tokens too."""
    prefix = f"OPERATOR_{name.upper()}_"
    if not given.get(f"{prefix}URL", "").strip():
        if others := sorted(key for key, value in given.items() if key.startswith(prefix) and value.strip()):
            message = f"{prefix}URL is not set, but {others[0]} is."
            hint = f"Set {prefix}URL, or remove the other {prefix}… settings if this operator is not used."
            problems.append(Problem("smsgateway.E001", message, hint))
        return dataclasses.replace(group, url="", token="", receipt_token="")
    for key in ("TOKEN", "RECEIPT_TOKEN"):
        if not given.get(prefix + key, "").strip():
            hint = f"Set {prefix}{key}, or {prefix}{key}{SUFFIX} to a file that holds it."
            problems.append(Problem("smsgateway.E001", f"{prefix}{key} is not set.", hint))
    return group


def _wrong(message: str, hint: str) -> Problem:
    return Problem("smsgateway.E003", message, hint)


def _read_one(
    given: str, name: str, kind: type, declared: Declaration, *, deployed: bool
) -> tuple[Any, tuple[str, str] | None]:
    """The value, and `(check id, message)` if it is wrong or missing."""
    is_list = typing.get_origin(kind) is list
    required = declared.default is REQUIRED or (deployed and declared.deployed_required)
    fallback = kind() if declared.default is REQUIRED else declared.default
    if was_unread(given):
        return fallback, None
    if not given.strip():
        return fallback, ("E001", f"{name} is not set.") if required else None
    try:
        value = _parts(given, declared) if is_list else _cast(given, kind, declared)
    except ValueError:
        if declared.is_duration:
            return fallback, ("E002", f"{name} is {given!r}, which is not {_duration_form(kind, declared)}.")
        return fallback, ("E002", f"{name} is {given!r}, which is not a {_TYPE_NAMES[kind]}.")
    if deployed and declared.secret is not None:
        weak = filter(None, (_weak(str(part), declared.secret) for part in (value if is_list else [value])))
        if found := next(weak, ""):
            return fallback, ("E005", f"{name} {found}.")
    if complaint := _complaint(value, declared):
        return fallback, ("E003", f"{name} {complaint}.")
    return value, None


def _cast(given: str, kind: type, declared: Declaration) -> Any:
    return kind(in_unit(given, declared.unit)) if declared.is_duration else kind(given)


def _parts(given: str, declared: Declaration) -> list[str]:
    # A file may have one value in a line.
    parts = [part.strip() for part in re.split(r"[,\n]", given) if part.strip()]
    return [in_unit(part, declared.unit) for part in parts] if declared.is_duration else parts


def _duration_form(kind: type, declared: Declaration) -> str:
    number = "a whole number" if kind is int else "a number"
    return f"{number} of {declared.unit} or a duration such as 500ms, 30s, 15m, 72h, 7d"


def _weak(value: str, least: int) -> str:
    if re.match(r"[a-z]+://", value):
        return url_complaint(value)
    return secret_complaint(value, least=least)


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
    if declared.is_secret:
        return f"Set {name}, or {name}{SUFFIX} to a file that holds it: {declared.meaning}"
    return f"Set {name}{unit} in the environment or .env: {declared.meaning}"
