"""What the worker processes report on their metrics pages, whose URLs ADMIN_PROCESSES lists."""

from __future__ import annotations

import http.client
import socket
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families

from apps.console.state.poll import Unavailable

_SECONDS: Final = 1.0
_MAX_BYTES: Final = 4_000_000
_MAX_THREADS: Final = 16

Labels = frozenset[tuple[str, str]]


class Worker(NamedTuple):
    """One process: its samples by metric, or in `error` why it did not answer."""

    name: str
    address: str
    samples: dict[str, dict[Labels, float]]
    error: str = ""

    def value(self, metric: str, **labels: str) -> float | None:
        """The sample with exactly these labels."""
        return self.samples.get(metric, {}).get(frozenset(labels.items()))

    def total(self, metric: str, **labels: str) -> float:
        """The sum of the samples that have these labels among theirs."""
        wanted = set(labels.items())
        return sum(value for found, value in self.samples.get(metric, {}).items() if wanted <= found)


def workers(pages: list[str]) -> list[Worker]:
    """Read these pages (`NAME=URL`), each from every address of its host. Raises Unavailable if there are none."""
    if not pages:
        raise Unavailable("The setting ADMIN_PROCESSES lists no processes.")
    found = []
    places = []
    for text in pages:
        name, _, url = text.partition("=")
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 80
        try:
            addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            found.append(Worker(name, f"{host}:{port}", {}, f"no such host: {error}"))
            continue
        places += [(name, str(address[4][0]), port, parts.path or "/metrics") for address in sorted(set(addresses))]
    if places:
        with ThreadPoolExecutor(min(_MAX_THREADS, len(places)), "metrics") as threads:
            found += threads.map(_read, places)
    return sorted(found, key=lambda worker: (worker.name, worker.address))


def _read(place: tuple[str, str, int, str]) -> Worker:
    name, address, port, path = place
    shown = f"{address}:{port}"
    client = http.client.HTTPConnection(address, port, timeout=_SECONDS)
    try:
        client.request("GET", path)
        response = client.getresponse()
        text = response.read(_MAX_BYTES).decode(errors="replace")
        if response.status != 200:
            return Worker(name, shown, {}, f"answered with status {response.status}")
        samples: defaultdict[str, dict[Labels, float]] = defaultdict(dict)
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                samples[sample.name][frozenset(sample.labels.items())] = sample.value
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Worker(name, shown, {}, str(error) or type(error).__name__)
    finally:
        client.close()
    return Worker(name, shown, dict(samples))
