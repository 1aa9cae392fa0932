"""Lets ordinary synchronous code run on the thread of an event loop.

Each call runs in a greenlet, which has its own stack. Where it has to wait it pauses, and the loop goes on; the code in
between is not aware of this. Such a call must never block: Django refuses to use its database connections there.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import structlog
from django.db import close_old_connections
from greenlet import getcurrent, greenlet  # type: ignore[import-untyped]

log = structlog.get_logger(__name__)

Result = TypeVar("Result")

# Threads that look up what is not in memory. They open a database connection each.
_LOOK_UP_THREADS: Final = 2


class Call(greenlet):  # type: ignore[misc]  # greenlet has no types
    """A call that may pause. Its parent is the greenlet of the loop."""


def start(call: Callable[[], None]) -> None:
    """Run a call on the loop's thread until it ends or pauses. Use it in callbacks of the loop.

    An error that it raises is only logged: a call reports its errors to its own caller.
    """
    Call(functools.partial(_guarded, call)).switch()


def current() -> Call | None:
    """The call that runs now, or None in any other thread and outside of calls."""
    found = getcurrent()
    return found if type(found) is Call else None


def pause() -> Any:
    """Pause the current call until `resume`; return the value that it gets."""
    return getcurrent().parent.switch()


def resume(call: Call, value: object = None) -> None:
    """Continue a paused call with this value, until it ends or pauses again. Use it in callbacks of the loop."""
    call.switch(value)


def wait(future: asyncio.Future[Result]) -> Result:
    """The result of a future, for which the current call pauses. Raises its exception."""
    if not future.done():
        future.add_done_callback(functools.partial(resume, getcurrent()))
        pause()
    return future.result()


def in_thread(function: Callable[..., Result], *arguments: Any) -> Result:
    """The function's result: computed by another thread if this is a call on the loop, else by this one."""
    if current() is None:
        return function(*arguments)
    loop = asyncio.get_running_loop()
    run = contextvars.copy_context().run  # so that its log lines have the request's id
    return wait(loop.run_in_executor(_look_ups(), run, using_database, function, *arguments))


def in_background(function: Callable[[], object]) -> None:
    """Let another thread call the function soon. An error is logged."""
    _look_ups().submit(_logged, function)


def using_database(function: Callable[..., Result], *arguments: Any) -> Result:
    """Call the function in a thread that keeps its database connection only if it is usable."""
    try:
        return function(*arguments)
    finally:
        close_old_connections()


@functools.cache
def _look_ups() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_LOOK_UP_THREADS, thread_name_prefix="look-up")


def _guarded(call: Callable[[], None]) -> None:
    try:
        call()
    except Exception:
        log.exception("unexpected_error")


def _logged(function: Callable[[], object]) -> None:
    try:
        using_database(function)
    except Exception as error:
        log.warning("refresh_failed", error=str(error).strip())
