"""pytest plugin: real PostgreSQL, Kafka and ClickHouse for the run, on loopback, in a folder of their own.

Loaded by `-p` so that their addresses stand in the environment before Django's settings are read. What the environment
gives (`DATABASE_URL` and the like) is used instead. The services end with the run, also when it is killed.

With `-n` each process of pytest-xdist has services of its own: no test sees rows, topics or ports of another process.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest

_GIVEN = Path(os.environ.get("DEVSERVICES_TEST_DIR") or Path(__file__).parents[1] / ".devservices" / "test")
_PROCESS = os.environ.get("PYTEST_XDIST_WORKER", "")
DIRECTORY = _GIVEN.with_name(f"{_GIVEN.name}-{_PROCESS}") if _PROCESS else _GIVEN


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None]:
    from apps.devservices import stack

    os.environ["DEVSERVICES_DIR"] = str(DIRECTORY)
    os.environ.setdefault("LOG_LEVEL", "error")
    for name in ("SMS_RATES_REFRESH", "SMS_ROUTES_REFRESH", "API_LIMITS_REFRESH"):
        os.environ[name] = "0"  # a test sees its own rates, routes and limits only
    for name in ("RAW", "MINUTE", "DAILY"):
        os.environ[f"CLICKHOUSE_{name}_KEPT_DAYS"] = "0"  # tests have dates of their own
    stack.up(DIRECTORY, bound_to_pid=os.getpid())
    early_config.add_cleanup(lambda: stack.down(DIRECTORY))
    early_config.add_cleanup(_close_clickhouse)  # the last in is the first to be called
    return (yield)


def _close_clickhouse() -> None:
    """The connections that the process keeps: closed, not left to the end of the interpreter, which would warn."""
    from smsgateway import clickhouse

    if clickhouse.default.cache_info().currsize:
        clickhouse.default().close()
