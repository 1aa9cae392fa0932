"""Chromium for the tests of pages: Playwright drives the Debian package, so nothing is downloaded."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest

ARGUMENTS: Final = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser (Playwright's `Browser`, synchronous), ended with the block.

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
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()
