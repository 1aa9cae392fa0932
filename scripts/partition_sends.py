"""Sends to the API: on two databases in comparison, and at a steady rate beside other work."""

from __future__ import annotations

import http.client
import itertools
import json
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

from apps.devservices.gateway import API, Gateway
from scripts import load
from scripts.partition_data import DIRECTORY, customers, environ, print_line

WORKERS = 4
WARM_UP_SECONDS = 3


def compare(addresses: dict[str, str], *, connections: int, seconds: float, runs: int) -> int:
    """Send on both databases; print each one's figures and the median ratio of neighbouring runs. Returns the failures.

    Both APIs stand ready and take turns of some seconds, the first one of each pair by turns: the machine's own ups and
    downs last longer than that, so they strike both.
    """
    found: dict[str, list[load.Run]] = {name: [] for name in addresses}
    with ExitStack() as stack:
        urls = {name: stack.enter_context(api(address)).api_url for name, address in addresses.items()}
        who = {name: customers(address) for name, address in addresses.items()}

        def send(name: str, seconds: float) -> load.Run:
            return load.single_sends(urls[name], customers=who[name], connections=connections, seconds=seconds)

        for name in addresses:
            send(name, WARM_UP_SECONDS)
        for number in range(runs):
            for name in sorted(addresses, reverse=bool(number % 2)):
                found[name].append(send(name, seconds))
    for name, of_one in found.items():
        print_line(
            {
                "bench": "sends",
                "database": name,
                "connections": connections,
                "value": round(statistics.median(run.rate for run in of_one)),
                "unit": "messages/s",
                "p50_ms": round(statistics.median(run.p50_ms for run in of_one), 2),
                "p99_ms": round(statistics.median(run.p99_ms for run in of_one), 2),
                "runs": [round(run.rate) for run in of_one],
                "runs_p99_ms": [round(run.p99_ms, 1) for run in of_one],
                "not_200": sum(run.failed for run in of_one),
                "generator_share_of_cpus": round(statistics.median(run.cpu_share for run in of_one), 3),
            }
        )
    pairs = list(zip(found["full"], found["empty"], strict=True))
    print_line(
        {
            "bench": "sends",
            "connections": connections,
            "pairs": len(pairs),
            "full_to_empty": {
                "rate": round(statistics.median(full.rate / empty.rate for full, empty in pairs), 3),
                "p50": round(statistics.median(full.p50_ms / empty.p50_ms for full, empty in pairs), 3),
                "p99": round(statistics.median(full.p99_ms / empty.p99_ms for full, empty in pairs), 3),
            },
        }
    )
    return sum(run.failed for of_one in found.values() for run in of_one)


class Sender:
    """Single sends at a rate, from threads. `cut` returns the latencies (seconds) since the last cut."""

    def __init__(self, url: str, who: list[str], *, rate: float) -> None:
        self._address = urlsplit(url).netloc
        self._who = itertools.cycle(who)
        self._rate = rate
        self._lock = threading.Lock()
        self._latencies: list[float] = []
        self._ends = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(number,)) for number in range(4)]
        self.failed = 0

    def __enter__(self) -> Sender:
        self._started = time.perf_counter()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join()

    def cut(self) -> list[float]:
        with self._lock:
            cut, self._latencies = self._latencies, []
        return cut

    def _send(self, number: int) -> None:
        client = http.client.HTTPConnection(self._address, timeout=60)
        for turn in itertools.count():
            # From its due time: a send that waits behind a slow one counts too.
            due = self._started + (turn * len(self._threads) + number) / self._rate
            if self._ends.wait(max(0.0, due - time.perf_counter())):
                break
            with self._lock:
                customer = next(self._who)
            body = json.dumps({"customer_id": customer, "to": f"+98912{turn % 10**7:07d}", "text": "hello"})
            client.request("POST", "/v1/sms/send", body, load.HEADERS)
            response = client.getresponse()
            response.read()
            with self._lock:
                self._latencies.append(time.perf_counter() - due)
                self.failed += response.status != 200
        client.close()


def measured(latencies: list[float]) -> dict[str, object]:
    cuts = statistics.quantiles(latencies, n=1000) if len(latencies) > 1 else latencies * 999
    named = {"p50_ms": cuts[499], "p99_ms": cuts[989], "p999_ms": cuts[998], "worst_ms": max(latencies)}
    return {"sends": len(latencies)} | {name: round(value * 1000, 1) for name, value in named.items()}


@contextmanager
def api(address: str) -> Iterator[Gateway]:
    """The API on this database, as in production: 4 processes of 2 threads."""
    with Gateway(directory=DIRECTORY / "logs", environ=environ(address), workers=WORKERS) as gateway:
        gateway.start(API)
        gateway.wait_ready()
        yield gateway
