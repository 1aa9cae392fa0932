"""Chromium for the tests of pages: Playwright drives the Debian package, so nothing is downloaded."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from apps.devservices import bound_process
from apps.devservices.processes import read_text
from tests.support.waiting import wait_for

ARGUMENTS: Final = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--headless=new",
    "--hide-scrollbars",
    "--mute-audio",
]


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser (Playwright's `Browser`, synchronous) without pages, cookies or storage of other tests.

    Without one the test is skipped, or fails under REQUIRE_BROWSER=1. Playwright runs an event loop in this thread,
    and Django refuses database calls beside one: make rows before the block, or in a thread of their own.
    """
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if path is None:
        told = "chromium is missing: apt-get install chromium, or set CHROMIUM to its path"
        if os.environ.get("REQUIRE_BROWSER") == "1":
            pytest.fail(told)
        pytest.skip(told)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.connect_over_cdp(_running(path))
        try:
            yield browser
        finally:
            browser.close()


@functools.cache
def _running(path: str) -> str:
    """The address of a browser that runs until this process ends: starting one takes seconds."""
    folder = Path(tempfile.mkdtemp(prefix="chromium-"))
    process = subprocess.Popen(
        [
            *(sys.executable, bound_process.__file__, str(os.getpid())),
            *(path, *ARGUMENTS, "--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank"),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    atexit.register(_stop, process, folder)

    def port() -> str | None:
        assert process.poll() is None, "chromium ended"
        return (read_text(folder / "DevToolsActivePort") or "").partition("\n")[0] or None

    return f"http://127.0.0.1:{wait_for(port, 'chromium to listen')}"


def _stop(process: subprocess.Popen[bytes], folder: Path) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    shutil.rmtree(folder, ignore_errors=True)
