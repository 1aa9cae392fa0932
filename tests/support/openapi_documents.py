"""The OpenAPI documents for tests: their parts, and a validator of what stands in them."""

from __future__ import annotations

import copy
import datetime as dt
import functools
import json
from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

from scripts.make_openapi import openapi_text

SERVICES = ("api", "reporting")
Operation = dict[str, Any]

_formats = FormatChecker()


@_formats.checks("date-time", raises=ValueError)
def _is_moment(value: object) -> bool:
    return not isinstance(value, str) or dt.datetime.fromisoformat(value).tzinfo is not None


@_formats.checks("date", raises=ValueError)
def _is_day(value: object) -> bool:
    return not isinstance(value, str) or bool(dt.date.fromisoformat(value))


@functools.cache
def _made(service: str) -> str:
    return openapi_text(service)


def document(service: str = "api") -> dict[str, Any]:
    return dict(json.loads(_made(service)))


def operations(service: str) -> Iterator[tuple[str, str, Operation]]:
    """Path, method and operation."""
    for path, methods in document(service)["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def operation(name: str, service: str = "api") -> Operation:
    (found,) = (described for _, _, described in operations(service) if described["operationId"] == name)
    return found


def parts(value: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object within, with its path."""
    if isinstance(value, dict):
        yield path, value
        for name, part in value.items():
            yield from parts(part, f"{path}/{name}")
    if isinstance(value, list):
        for index, part in enumerate(value):
            yield from parts(part, f"{path}/{index}")


def faults(schema: dict[str, Any], value: Any, *, service: str = "api", closed: bool = False) -> list[str]:
    """What the value has that the schema does not allow. `closed`: fields that are not described are faults too."""
    schemas = copy.deepcopy(document(service)["components"]["schemas"])
    if closed:
        for _, part in parts({"schemas": schemas, "schema": schema}):
            if "properties" in part:
                part.setdefault("additionalProperties", False)
    whole = {**schema, "components": {"schemas": schemas}}
    found = Draft202012Validator(whole, format_checker=_formats).iter_errors(value)
    return [f"{fault.json_path}: {fault.message}" for fault in found]


def checked(name: str, response: Any, status: int = 200, *, service: str = "api") -> Any:
    """The answer's document. Its fields are all described, so are its headers, and those that must be there are."""
    described = operation(name, service)["responses"][str(status)]
    assert response.status_code == status, response.content
    (media,) = described["content"].values()
    answer = response.json()
    assert faults(media["schema"], answer, service=service, closed=True) == []
    required = {
        header
        for header, reference in described["headers"].items()
        if document(service)["components"]["headers"][reference["$ref"].rpartition("/")[2]].get("required")
    }
    own = {header for header in response.headers if header not in ("Content-Type", "Content-Length")}
    assert required <= own <= described["headers"].keys(), own
    return answer
