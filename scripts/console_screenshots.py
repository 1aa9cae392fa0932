"""Makes the screenshots of docs/images from a running gateway: python -m scripts.console_screenshots ADDRESS USER
PASSWORD

Needs chromium, and a user with all permissions to view. Shows the newest message and its customer.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "docs" / "images"
DESKTOP, PHONE = {"width": 1200, "height": 760}, {"width": 390, "height": 780}


def main(address: str, user: str, password: str) -> None:
    from tests.support.browser import chromium

    with chromium() as browser:
        for name, size, scheme, pages in (
            ("", DESKTOP, "light", ("today", "customer", "topup", "message")),
            ("-dark", DESKTOP, "dark", ("today", "messages")),
            ("-phone", PHONE, "light", ("today", "message")),
        ):
            page = browser.new_context(viewport=size, color_scheme=scheme).new_page()
            _log_in(page, address, user, password)
            for each in pages:
                _OPEN[each](page, address)
                page.wait_for_timeout(1200)  # charts are animated
                page.screenshot(path=FOLDER / f"console-{each}{name}.png")


def _log_in(page: Any, address: str, user: str, password: str) -> None:
    page.goto(f"{address}/admin/")
    page.fill("[name=username]", user)
    page.fill("[name=password]", password)
    page.click("button[type=submit]")
    page.wait_for_url(f"{address}/admin/")


def _today(page: Any, address: str) -> None:
    page.goto(f"{address}/admin/")


def _messages(page: Any, address: str) -> None:
    page.goto(f"{address}/admin/console/messages/")


def _message(page: Any, address: str) -> None:
    _messages(page, address)
    page.goto(address + re.findall(r"/admin/console/messages/[0-9A-Z]{26}/", page.content())[0])


def _customer(page: Any, address: str) -> None:
    _message(page, address)
    page.goto(address + re.findall(r"/admin/console/customers/[0-9A-Z]{26}/", page.content())[0])


def _top_up(page: Any, address: str) -> None:
    _customer(page, address)
    page.get_by_role("link", name="Top up").click()
    page.fill("[name=amount]", "1,000.50")
    page.fill("[name=reference]", f"INV-{page.url[-10:-8]}")
    page.get_by_role("button", name="Review").click()
    page.wait_for_selector(".c-sum")


_OPEN = {"today": _today, "messages": _messages, "message": _message, "customer": _customer, "topup": _top_up}


if __name__ == "__main__":
    main(*sys.argv[1:])
