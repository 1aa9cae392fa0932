"""Load on the API for the benchmark: single sends by wrk (by Python if it is missing), batches by Python."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import itertools
import json
import os
import resource
import shutil
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from apps.devservices.processes import ServiceError

SCRIPT = Path(__file__).with_name("send.lua")
HEADERS = {"Content-Type": "application/json"}
# One GSM-7 segment, extension characters, several segments, UCS-2, several segments of UCS-2, surrogate pairs.
TEXTS = (
    "",
    " {a|b} costs 5\u20ac [net] ~ \\ ^",
    " Terms and conditions apply; see the shop for details and opening hours." * 4,
    " \u06a9\u062f \u0634\u0645\u0627",
    " \u06a9\u062f \u0634\u0645\u0627 \u0628\u0631\u0627\u06cc \u0648\u0631\u0648\u062f" * 12,
    " \U0001f600\U0001f680" * 30,
)
_LATEST = 60  # seconds
PREFIXES = ("912", "935", "919", "903", "921")


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """One run. `rate`: accepted messages per second; request latencies in milliseconds; `failed`: answers other than
    200; `cpu_share`: of all processors' time, what the load generator took, in seconds `cpu_seconds`; `requests`: those
    answered; `why`: the kinds of failures, as wrk names them.
    """

    rate: float
    p50_ms: float
    p99_ms: float
    failed: int
    cpu_share: float
    command: str
    requests: int
    cpu_seconds: float
    why: str = ""


def single_sends(
    url: str, *, customers: Sequence[str], connections: int, seconds: float, keys: Sequence[str] = ()
) -> Run:
    """Single sends over `connections` connections, each sending again as soon as it is answered.

    With API `keys`, one a customer, each send brings its key and an Idempotency-Key of its own; that takes wrk.
    """
    if shutil.which("wrk"):
        environ = {"BENCH_CUSTOMERS": ",".join(customers), "BENCH_KEYS": ",".join(keys)}
        return wrk(url, script=SCRIPT, connections=connections, seconds=seconds, environ=environ)
    if keys:
        raise ServiceError("wrk is missing: only it sends keys.")
    bodies = (json.dumps({"customer_id": customer, **message}) for customer, message in _messages(customers))
    return _python(url, "/v1/sms/send", bodies=bodies, size=1, connections=connections, seconds=seconds)


def batches(
    url: str, *, customers: Sequence[str], size: int, connections: int, seconds: float, mixed: bool = False
) -> Run:
    """Batches of `size` messages, one after the other on each connection. `mixed`: texts of every kind, see TEXTS."""

    def bodies() -> Iterator[str]:
        made = _mixed(customers) if mixed else _messages(customers)
        for customer in itertools.cycle(customers):
            messages = [message for _, message in itertools.islice(made, size)]
            yield json.dumps({"customer_id": customer, "messages": messages})

    return _python(url, "/v1/sms/batch", bodies=bodies(), size=size, connections=connections, seconds=seconds)


def paced(url: str, *, customer: str, rate: float, connections: int, seconds: float) -> Run:
    """Single sends of one customer, `rate` per second in all, each on time unless its connection is busy."""
    due = (number / rate for number in itertools.count())
    bodies = (json.dumps({"customer_id": customer, **message}) for _, message in _messages([customer]))
    return _python(url, "/v1/sms/send", bodies=bodies, size=1, connections=connections, seconds=seconds, due=due)


def send_batch(url: str, *, customer: str, size: int, first: int, prefix: str) -> int:
    """Send one batch to `size` numbers with this prefix, from the `first` on. Returns the number of accepted messages.

    Raises ServiceError.
    """
    messages = [
        {"to": f"+98{prefix}{number % 10_000_000:07d}", "text": "Your code is 123456. Do not tell it to anybody."}
        for number in range(first, first + size)
    ]
    client = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    with contextlib.closing(client):
        client.request("POST", "/v1/sms/batch", json.dumps({"customer_id": customer, "messages": messages}), HEADERS)
        response = client.getresponse()
        answer = response.read()
    if response.status != 200 or (accepted := int(json.loads(answer)["accepted"])) != size:
        raise ServiceError(f"A batch of {size} was answered with {response.status}: {answer[:200]!r}")
    return accepted


def _messages(customers: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    for count, customer, prefix in zip(
        itertools.count(1), itertools.cycle(customers), itertools.cycle(PREFIXES), strict=False
    ):
        text = f"Your code is {count * 7919 % 1_000_000:06d}. Do not tell it to anybody."
        yield customer, {"to": f"+98{prefix}{count % 10_000_000:07d}", "text": text, "from": "BENCH"}


def _mixed(customers: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    for (customer, message), text in zip(_messages(customers), itertools.cycle(TEXTS), strict=False):
        yield customer, {**message, "text": message["text"] + text}


def wrk(url: str, *, script: Path, connections: int, seconds: float, environ: Mapping[str, str], size: int = 1) -> Run:
    """Run wrk in one thread with this script, which gets `environ`. `size`: messages in a request.

    Raises ServiceError.
    """
    if not shutil.which("wrk"):
        raise ServiceError("wrk is missing, which makes the load. On Debian: apt-get install wrk")
    # An answer that comes late is an answer: it is to be seen in the latencies, not among the errors.
    timing = [f"-d{max(1, round(seconds))}s", "--timeout", f"{_LATEST}s"]
    command = ["wrk", "-t1", f"-c{connections}", *timing, "-s", script.name, url]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        command, cwd=script.parent, env={**os.environ, **environ}, capture_output=True, text=True, check=False
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # The script's own errors are lines on standard error; its last line is what `done` of the script wrote.
    lines = done.stderr.splitlines()
    if done.returncode or not lines or not lines[-1].startswith("{"):
        raise ServiceError(f"wrk failed: {(lines or done.stdout.splitlines() or ['no reason given'])[-1]}")
    found = json.loads(lines[-1])
    elapsed = found["microseconds"] / 1e6
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(
        rate=found["requests"] * size / elapsed,
        p50_ms=found["p50"] / 1000,
        p99_ms=found["p99"] / 1000,
        failed=found["failed"],
        cpu_share=used / elapsed / (os.cpu_count() or 1),
        command=" ".join(command),
        requests=found["requests"],
        cpu_seconds=used,
        why=found["why"],
    )


def _python(
    url: str,
    path: str,
    *,
    bodies: Iterator[str],
    size: int,
    connections: int,
    seconds: float,
    due: Iterator[float] | None = None,
) -> Run:
    """The same, from threads of this process. Bodies are made before the clock starts. `due`: seconds from the
    start."""
    latencies: list[float] = []
    failures: list[int] = []
    lock = threading.Lock()
    started, used = time.perf_counter(), time.process_time()

    def send() -> None:
        client = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        while time.perf_counter() - started < seconds:
            with lock:
                body = next(bodies)
                wait = next(due) - (time.perf_counter() - started) if due else 0
            if wait > 0:
                time.sleep(wait)
            begun = time.perf_counter()
            client.request("POST", path, body, HEADERS)
            response = client.getresponse()
            answer = response.read()
            latencies.append(time.perf_counter() - begun)
            if response.status != 200 or (size > 1 and json.loads(answer)["accepted"] != size):
                failures.append(response.status)
        client.close()

    threads = [threading.Thread(target=send) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed, used = time.perf_counter() - started, time.process_time() - used
    cuts = statistics.quantiles(latencies, n=100) if len(latencies) > 1 else latencies * 99
    return Run(
        rate=len(latencies) * size / elapsed,
        p50_ms=cuts[49] * 1000,
        p99_ms=cuts[98] * 1000,
        failed=len(failures),
        cpu_share=used / elapsed / (os.cpu_count() or 1),
        command=f"python http.client, POST {path}, {connections} connections, {size} messages each",
        requests=len(latencies),
        cpu_seconds=used,
    )
