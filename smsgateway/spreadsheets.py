"""Text in CSV files that people open in a spreadsheet, which runs a cell that begins with `=`, `+`, `-` or `@`.

Texts of others (an operator's message id) must not become formulas: OWASP, "CSV Injection". An apostrophe goes before
such a character at the start of the text; and after each separator inside it, because a spreadsheet whose separator is
another one than ours begins a cell there, quotes or not. Only for CSV: other formats keep texts as they are.
"""

from __future__ import annotations

import re
from typing import Final

# Also the wide forms, which some spreadsheets read as the plain ones; blanks before them do not help.
_FORMULA: Final = "[=+\\-@\uff1d\uff0b\uff0d\uff20]"
_BLANKS: Final = r"[\x20\xa0]*"
_INSIDE: Final = rf"([\t\r\n,;|\x22]{_BLANKS})({_FORMULA})"
# Apostrophes are counted in, so that to remove one from the start always gives back what was there.
_START: Final = rf"^('*{_BLANKS}(?:{_FORMULA}|[\t\r\n]))"
_AFTER: Final = r"\1'\2"
_AT_START: Final = r"'\1"
_inside: Final = re.compile(_INSIDE)
_start: Final = re.compile(_START)


def cell(text: str) -> str:
    """The text as a cell of a CSV file, before quoting."""
    return _start.sub(_AT_START, _inside.sub(_AFTER, text))


def cell_sql(column: str) -> str:
    """The SQL of ClickHouse that does the same to a column of texts."""
    inside = f"replaceRegexpAll({column}, {_quoted(_INSIDE)}, {_quoted(_AFTER)})"
    return f"replaceRegexpOne({inside}, {_quoted(_START)}, {_quoted(_AT_START)})"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
