"""pytest plugin: real PostgreSQL, Kafka and ClickHouse for the run, on loopback, in a folder of their own.

Loaded by `-p` so that their addresses stand in the environment before Django's settings are read. Only those start that
the chosen test files need (`tests/support/needs.py`); what the environment gives (`DATABASE_URL` and the like) is used
instead. The services end with the run, also when it is killed.

With `-n` each process of pytest-xdist has services of its own: no test sees rows, topics or ports of another process.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.support")

from tests.support import needs  # noqa: E402

_GIVEN = Path(os.environ.get("DEVSERVICES_TEST_DIR") or Path(__file__).parents[1] / ".devservices" / "test")
_PROCESS = os.environ.get("PYTEST_XDIST_WORKER", "")
DIRECTORY = _GIVEN.with_name(f"{_GIVEN.name}-{_PROCESS}") if _PROCESS else _GIVEN

# The addresses of services that were not started: connections are refused, and the address says why.
_NOT_STARTED = {
    "DATABASE_URL": "postgres://not-started@127.0.0.1:9/see_tests_support_needs",
    "KAFKA_BROKERS": "127.0.0.1:9",
    "CLICKHOUSE_URL": "clickhouse://not-started@127.0.0.1:9/see_tests_support_needs",
}


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None]:
    from apps.devservices import stack

    os.environ["DEVSERVICES_DIR"] = str(DIRECTORY)
    os.environ.setdefault("LOG_LEVEL", "error")
    for name in ("SMS_RATES_REFRESH", "SMS_ROUTES_REFRESH", "API_LIMITS_REFRESH"):
        os.environ[name] = "0"  # a test sees its own rates, routes and limits only
    for name in ("RAW", "MINUTE", "DAILY"):
        os.environ[f"CLICKHOUSE_{name}_KEPT_DAYS"] = "0"  # tests have dates of their own
    for variable, address in _NOT_STARTED.items():
        if os.environ.get(variable) == address:  # from the process that started this one
            del os.environ[variable]
    for variable in needs.SERVICES - _needed(early_config):
        os.environ.setdefault(variable, _NOT_STARTED[variable])
    if any(not os.environ.get(variable) for variable in needs.SERVICES):
        stack.up(DIRECTORY, bound_to_pid=os.getpid())
        early_config.add_cleanup(lambda: stack.down(DIRECTORY))
        early_config.add_cleanup(_close_clickhouse)  # the last in is the first to be called
    return (yield)


def pytest_report_header() -> str:
    started = [name for name in sorted(needs.SERVICES) if name not in os.environ]
    return f"services started: {', '.join(started) or 'none'}"


def _needed(config: pytest.Config) -> set[str]:
    """The variables of the services that the tests of this process need."""
    given = config.known_args_namespace
    if given.numprocesses and not _PROCESS:
        return set()  # its processes run the tests
    folder = Path(__file__).parent
    paths = [Path(path.partition("::")[0]).resolve() for path in given.file_or_dir] or [folder]
    files = (file for path in paths for file in (path.rglob("test_*.py") if path.is_dir() else [path]) if file.exists())
    return needs.services(file for file in files if given.markexpr != "not slow" or not needs.is_slow(file))


def _close_clickhouse() -> None:
    """The connections that the process keeps: closed, not left to the end of the interpreter, which would warn."""
    from smsgateway import clickhouse

    if clickhouse.default.cache_info().currsize:
        clickhouse.default().close()
