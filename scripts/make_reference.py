"""Makes docs/reference/ from the declarations: python -m scripts.make_reference. A test compares."""

from __future__ import annotations

import os
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from prometheus_client.metrics import MetricWrapperBase

FOLDER = Path(__file__).parents[1] / "docs" / "reference"
MADE = "<!-- Made by `python -m scripts.make_reference` from the declarations. Do not edit. -->\n"


def settings_page() -> str:
    """Every setting, by group."""
    from smsgateway import config

    lines = ["# Settings", MADE]
    lines.append(
        "Settings are read from the environment, then from `.env`. If one is wrong or missing, a process prints one\n"
        "line about it at its start and exits with 78. [.env.example](../../.env.example) lists all of them,\n"
        "ready to copy.\n\n"
        "A duration is a number in the unit of its row, or carries its own: `500ms`, `30s`, `15m`, `72h`, `7d`.\n"
        "A secret may come from a file: `NAME_FILE` names it. A variable that begins like a setting and is none is\n"
        "warned about. What production and staging refuse besides: [security](../explanation/security.md).\n"
    )
    title = ""
    for _, group, name, kind, declared in config.declarations():
        if group.title != title:
            title = group.title
            lines += [f"\n## {title}\n", "| setting | meaning | default | limits |", "|---|---|---|---|"]
        lines.append(_setting_row(name, kind, declared))
    for example, kind in (("NAME", config.HttpOperator), ("NAME", config.SmppOperator)):
        lines += [f"\n## {kind.title}\n", "| setting | meaning | default | limits |", "|---|---|---|---|"]
        lines += [_setting_row(name, type_, declared) for name, type_, declared in
                  config.operator_declarations(example, kind)]  # fmt: skip
    return "\n".join(lines) + "\n"


def _setting_row(name: str, kind: Any, declared: Any) -> str:
    from smsgateway import config

    default = declared.default
    if default is config.REQUIRED:
        shown = "required"
    else:
        shown = ",".join(map(str, default)) if isinstance(default, list) else str(default)
        shown = f"`{shown}`" if shown else "empty"
    limits = [declared.unit] if declared.unit else []
    if declared.choices:
        limits.append(" or ".join(f"`{choice}`" for choice in declared.choices))
    if declared.minimum is not None:
        limits.append(f"{declared.minimum} to {declared.maximum}")
    if declared.deployed_required:
        limits.append("required in production and staging")
    if declared.is_secret:
        limits.append("secret")
    return f"| `{name}` | {_cell(declared.meaning)} | {_cell(shown)} | {_cell('; '.join(limits))} |"


def metrics_page() -> str:
    """Every metric, as declared."""
    from smsgateway import metrics

    lines = ["# Metrics", MADE]
    lines.append(
        "Every process answers `/metrics` on `METRICS_PORT`, an HTTP service for all its processes as one; in\n"
        "development HTTP services answer on their own port too.\n"
        "Each process exports the metrics that it counts. Labels are bounded: operators, topics,\n"
        "codes and routes are few; `customer` is one of the busiest (`METRICS_CUSTOMERS`) or `other`.\n"
    )
    lines += ["| metric | kind | labels | meaning |", "|---|---|---|---|"]
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            name = metric._name + ("_total" if metric._type == "counter" else "")
            labels = ", ".join(f"`{label}`" for label in metric._labelnames)
            meaning = metric._documentation
            if metric._type == "histogram":
                bounds = ", ".join(f"{bound:g}" for bound in metric._kwargs["buckets"])
                meaning += f" Buckets: {bounds}."
            lines.append(f"| `{name}` | {metric._type} | {labels} | {_cell(meaning)} |")
    return "\n".join(lines) + "\n"


def events_page() -> str:
    """Every event on Kafka, field by field."""
    from apps.sms import events

    lines = ["# Events", MADE]
    lines.append(
        "JSON objects with a `type`. Readers ignore fields that they do not know, and what was added later has\n"
        "a default, so the versions before and after a change read each other. The topics, keys and headers are in\n"
        "[KAFKA_INFRASTRUCTURE.md](../KAFKA_INFRASTRUCTURE.md).\n"
    )
    for struct in typing.get_args(events.AnyEvent):
        info = msgspec.inspect.type_info(struct)
        lines += [f"\n## {info.tag}\n", _paragraph(struct.__doc__), ""]
        lines += _fields(info)
        for inner in _inner(info):
            lines += [f"\n### {inner.cls.__name__}\n", _paragraph(inner.cls.__doc__), ""]
            lines += _fields(inner)
    return "\n".join(lines) + "\n"


def _fields(info: Any) -> Iterator[str]:
    yield "| field | type | default |"
    yield "|---|---|---|"
    for field in info.fields:
        default = "required" if field.required else f"`{msgspec.json.encode(_default(field)).decode()}`"
        yield f"| `{field.name}` | {_type_name(field.type)} | {default} |"


def _default(field: Any) -> Any:
    return field.default if field.default is not msgspec.NODEFAULT else field.default_factory()


def _inner(info: Any) -> Iterator[Any]:
    for field in info.fields:
        kind = getattr(field.type, "item_type", field.type)
        if isinstance(kind, msgspec.inspect.StructType):
            yield kind
            yield from _inner(kind)


def _type_name(kind: Any) -> str:
    match kind:
        case msgspec.inspect.StrType():
            return "text"
        case msgspec.inspect.IntType():
            bounds = "" if kind.ge is None else f", {kind.ge} to {kind.le}"
            return f"whole number{bounds}"
        case msgspec.inspect.VarTupleType() | msgspec.inspect.ListType():
            return f"list of {_type_name(kind.item_type)}"
        case msgspec.inspect.StructType():
            return f"`{kind.cls.__name__}`"
        case msgspec.inspect.UnionType():
            return " or ".join(_type_name(part) for part in kind.types)
        case msgspec.inspect.NoneType():
            return "null"
        case _:
            return type(kind).__name__.removesuffix("Type").lower()


def _paragraph(text: str | None) -> str:
    return re.sub(r"\s*\n\s*", " ", (text or "").strip())


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


PAGES = {"settings.md": settings_page, "metrics.md": metrics_page, "events.md": events_page}

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "smsgateway.settings")
    import django

    django.setup()
    FOLDER.mkdir(exist_ok=True)
    for page, make in PAGES.items():
        (FOLDER / page).write_text(make(), encoding="utf-8")
