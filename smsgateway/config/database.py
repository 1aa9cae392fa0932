"""DATABASE_URL as libpq reads it: several hosts, socket folders, and every option after the question mark."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "channel_binding": ("disable", "prefer", "require"),
    "gssencmode": ("disable", "prefer", "require"),
    "load_balance_hosts": ("disable", "random"),
    "target_session_attrs": ("any", "read-write", "read-only", "primary", "standby", "prefer-standby"),
}
_FILES: Final = ("sslrootcert", "sslcert", "sslkey", "sslcrl", "passfile")
_UNKNOWN: Final = re.compile(r'invalid URI query parameter: "([^"]*)"')


def parameters(url: str) -> dict[str, str]:
    """libpq's connection parameters in the URL: `{"host": "a,b", "port": "5432,5432", "sslmode": "verify-full", …}`.

    Raises ValueError with what is wrong; its text never holds the password.
    """
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    try:
        found = {name: str(value) for name, value in conninfo_to_dict(url).items() if value is not None}
    except ProgrammingError as error:
        if unknown := _UNKNOWN.search(str(error)):
            raise ValueError(f"PostgreSQL has no connection option {unknown[1]!r}{_suggested(unknown[1])}") from None
        raise ValueError("it is not postgres://user:password@host:5432/name?option=value") from None
    for name, choices in _CHOICES.items():
        if name in found and found[name] not in choices:
            raise ValueError(f"its {name} is {found[name]!r}, not one of {', '.join(choices)}")
    for name in _FILES:
        if name in found and found[name] != "system" and not Path(found[name]).is_file():
            raise ValueError(f"its {name} is {found[name]!r}, but there is no such file")
    if "verify" in found.get("sslmode", "") and "sslrootcert" not in found:
        default = Path.home() / ".postgresql" / "root.crt"
        if not default.is_file():
            raise ValueError(
                f"sslmode={found['sslmode']} needs sslrootcert, the file of your CA; or sslrootcert=system: public CAs"
            )
    return found


def _suggested(name: str) -> str:
    from psycopg import pq

    known = [option.keyword.decode() for option in pq.Conninfo.get_defaults()]
    near = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {near[0]}?)" if near else ""
