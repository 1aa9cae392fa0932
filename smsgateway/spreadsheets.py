"""Makes texts in CSV files safe for spreadsheets, which run a cell that begins with `=`, `+`, `-` or `@` as a formula.

Foreign texts, such as an operator's message id, must not become formulas (OWASP, "CSV Injection"). An apostrophe is put
before such a character at the start of the text, and after each separator inside it, because a spreadsheet with another
separator begins a cell there, even inside quotes. This is for CSV only; other formats keep the texts unchanged.
"""

from __future__ import annotations

import re
from typing import Final

# Also the fullwidth forms, which some spreadsheets read like the plain ones. Blanks before them do not help.
_FORMULA: Final = "[=+\\-@\uff1d\uff0b\uff0d\uff20]"
_BLANKS: Final = r"[\x20\xa0]*"
_INSIDE: Final = rf"([\t\r\n,;|\x22]{_BLANKS})({_FORMULA})"
# Includes leading apostrophes, so that removing one from the start always restores the original text.
_START: Final = rf"^('*{_BLANKS}(?:{_FORMULA}|[\t\r\n]))"
_AFTER: Final = r"\1'\2"
_AT_START: Final = r"'\1"
_inside: Final = re.compile(_INSIDE)
_start: Final = re.compile(_START)


def cell(text: str) -> str:
    """The text as a cell of a CSV file, before quoting."""
    return _start.sub(_AT_START, _inside.sub(_AFTER, text))


def cell_sql(column: str) -> str:
    """ClickHouse SQL that converts a column of texts like `cell`."""
    inside = f"replaceRegexpAll({column}, {_quoted(_INSIDE)}, {_quoted(_AFTER)})"
    return f"replaceRegexpOne({inside}, {_quoted(_START)}, {_quoted(_AT_START)})"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
