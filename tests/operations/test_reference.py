"""The reference pages are what the declarations say."""

from __future__ import annotations

import pytest

from scripts.make_reference import FOLDER, PAGES


@pytest.mark.parametrize("page", sorted(PAGES))
def test_the_page_matches_the_declarations(page: str) -> None:
    made = PAGES[page]()
    assert (FOLDER / page).read_text(encoding="utf-8") == made, "run: python -m scripts.make_reference"
