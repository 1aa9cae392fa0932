"""CLICKHOUSE_URL and REDIS_URL as their clients read them. A misspelt option is refused at the start, not at the first
query."""

from __future__ import annotations

import difflib
import ssl
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

_CLICKHOUSE_FILES: Final = ("ca_certs", "certfile", "keyfile")
_REDIS_FILES: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")


def check_clickhouse_url(url: str) -> None:
    """Raises ValueError for misspelt options of clickhouse-driver, and for missing files."""
    options = _options(url, files=_CLICKHOUSE_FILES)
    for name in sorted(options.keys() - {*_CLICKHOUSE_OPTIONS}):
        # The driver sends any other name to the server with each query, so only names that are nearly right are wrong.
        if near := difflib.get_close_matches(name, _CLICKHOUSE_OPTIONS, n=1, cutoff=0.75):
            raise ValueError(f"the driver has no option {name!r} (did you mean {near[0]}?)")
    if not url.startswith("clickhouses:") and options.keys() & {*_CLICKHOUSE_FILES, "verify", "server_hostname"}:
        raise ValueError("options of TLS need clickhouses://")


_CLICKHOUSE_OPTIONS: Final = (
    *("compression", "compress_block_size", "use_numpy", "client_name", "client_revision", "settings_is_important"),
    *("connect_timeout", "send_receive_timeout", "sync_request_timeout", "tcp_keepalive", "round_robin", "alt_hosts"),
    *("secure", "verify", "check_hostname", "server_hostname", "ssl_version", "ciphers"),
    *("ca_certs", "certfile", "keyfile", "keypass"),
)


def check_redis_url(url: str) -> None:
    """Raises ValueError for options that the client does not know, and for missing files; an empty URL is fine."""
    if not url:
        return
    _options(url, files=_REDIS_FILES)
    from redis import ConnectionPool

    try:
        connection: Any = ConnectionPool.from_url(url).make_connection()
    except TypeError as error:
        raise ValueError(f"the client refuses an option: {str(error).rpartition(') ')[2] or error}") from None
    except (ValueError, ssl.SSLError) as error:
        raise ValueError(f"the client refuses it: {error}") from None
    connection.disconnect()


def _options(url: str, *, files: tuple[str, ...]) -> dict[str, str]:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:  # its text may quote a part of the password
        raise ValueError("it is not a URL; in a password write / : @ % as %2F %3A %40 %25") from None
    options = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
    for name in files:
        if name in options and not Path(options[name]).is_file():
            raise ValueError(f"its {name} is {options[name]!r}, but there is no such file")
    return options
