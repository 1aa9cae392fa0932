"""Makes `.env.example` from the declared settings: python -m scripts.make_env_example > .env.example"""

from __future__ import annotations

import sys
from typing import Any

from smsgateway import config

HEAD = """\
# Every setting of the gateway, with its default. Copy this file to .env, and remove the # where you want another value.
# The environment overrides .env. Required settings have no default. On one machine `manage.py devservices up` (and
# `make up`) sets DATABASE_URL, CLICKHOUSE_URL and KAFKA_BROKERS.
# A duration is a number in the unit shown, or carries its own: 500ms, 30s, 15m, 72h, 7d. NAME_FILE names a file that
# holds the secret NAME.
# Only in the environment: DEVSERVICES_DIR, the folder of the development services (default .devservices). UP_PORTS: the
# three ports of `make up` (default 8080,8081,8090).
"""


def render() -> str:
    """The text of the file."""
    lines = [HEAD]
    title = ""
    for _, group, name, _, declared in config.declarations():
        if group.title != title:
            title = group.title
            lines.append(f"\n# --- {title} ---\n")
        lines.append(_entry(name, declared))
    for example, kind in (("rightel", config.HttpOperator), ("shatel", config.SmppOperator)):
        lines.append(f"\n# --- {kind.title}, here {example} ---\n")
        lines += [_entry(name, declared) for name, _, declared in config.operator_declarations(example, kind)]
    return "".join(lines)


def _entry(name: str, declared: Any) -> str:
    return f"\n# {declared.meaning}{_limits(declared)}\n#{name}={_shown(declared)}\n"


def _shown(declared: Any) -> str:
    if declared.default is config.REQUIRED:
        return ""
    default = declared.default
    return ",".join(map(str, default)) if isinstance(default, list) else str(default)


def _limits(declared: Any) -> str:
    limits = [declared.unit] if declared.unit else []
    if declared.choices:
        limits.append("one of " + ", ".join(declared.choices))
    if declared.minimum is not None:
        limits.append(f"{declared.minimum} to {declared.maximum}")
    if declared.default is config.REQUIRED:
        limits.append("required")
    elif declared.deployed_required:
        limits.append("required in production and staging")
    if declared.is_secret:
        limits.append("secret")
    return f" [{'; '.join(limits)}]" if limits else ""


if __name__ == "__main__":
    sys.stdout.write(render())
