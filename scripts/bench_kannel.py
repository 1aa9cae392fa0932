"""Measures single sends beside Kannel's, by turns on this machine. Prints a table.

python -m scripts.bench_kannel                    # Kannel's spool store, 5 pairs
python -m scripts.bench_kannel --store file --operator none

Needs Debian's package kannel (apt-get install kannel; the service that it starts may be stopped). Kannel runs as
bearerbox and smsbox with a configuration made here, in .devservices/bench/kannel. wrk loads both in the same way:
Kannel's sendsms with a GET, ours with a POST.

The two do not do the same. Kannel keeps no balances and syncs no file to disk, so what it accepted may be lost with the
power; it keeps a message in one file (spool) or one log (file) until an operator has it. Ours charges an account,
and answers when the disk has the charge and the message. Kannel also hands each message to its operator at once, here a
sink that answers at once (--operator sink); with --operator none nothing listens, and Kannel keeps them. Ours only
accepts: its workers are other processes. The sink's CPU time counts for nobody.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import psutil

from apps.devservices.gateway import answer
from apps.devservices.ports import HOST, remembered_ports
from apps.devservices.processes import PROJECT_ROOT, ServiceError, last_relevant_line, wait_until
from scripts import bench_cases, bench_cpu, bench_table, bench_versions, load, smsc_sink
from scripts.bench_cases import CASES, Measured
from scripts.bench_compare import DIRECTORY, setting

_BOUND: Final = PROJECT_ROOT / "apps" / "devservices" / "bound_process.py"
_SBIN: Final = "/usr/sbin:/usr/local/sbin"
_SECONDS: Final = 30.0
_CONFIGURATION: Final = """
group = core
admin-port = {admin}
admin-password = bench
admin-deny-ip = "*.*.*.*"
admin-allow-ip = "127.0.0.1"
admin-interface = 127.0.0.1
smsbox-port = {boxes}
smsbox-interface = 127.0.0.1
box-deny-ip = "*.*.*.*"
box-allow-ip = "127.0.0.1"
store-type = {store}
store-location = "{folder}/store"

group = smsc
smsc = smpp
smsc-id = sink
host = 127.0.0.1
port = {operator}
transceiver-mode = true
smsc-username = bench
smsc-password = bench
system-type = ""
max-pending-submits = 100
reconnect-delay = 1

group = smsbox
smsbox-id = bench
bearerbox-host = 127.0.0.1
sendsms-port = {sendsms}
sendsms-interface = 127.0.0.1

group = sendsms-user
username = bench
password = bench
"""


class Kannel(NamedTuple):
    """A running Kannel: its processes, the URL of its smsbox, and of bearerbox's status page."""

    processes: list[psutil.Process]
    url: str
    status: str

    def kept(self) -> int:
        """Messages in its store that no operator has yet."""
        with urllib.request.urlopen(self.status) as page:
            found = re.search(r"store size (-?\d+)", page.read().decode(errors="replace"))
        if found is None:
            raise ServiceError(f"kannel: its status page {self.status} has no store size.")
        return int(found.group(1))


def main() -> int:
    arguments = _arguments()
    case = CASES["send"]
    ours: list[Measured] = []
    theirs: list[Measured] = []
    with bench_cases.services(DIRECTORY, kafka=False) as addresses:
        side = bench_cases.prepare(
            bench_versions.here(),
            addresses=addresses,
            directory=DIRECTORY,
            customers=arguments.customers,
            settings=dict(arguments.set),
        )
        for pair in range(1, arguments.pairs + 1):
            theirs.append(_measure(arguments))
            ours.append(
                bench_cases.run(
                    side,
                    case,
                    connections=arguments.connections,
                    seconds=arguments.seconds,
                    warm_up=arguments.warm_up,
                )
            )
            sys.stderr.write(
                f"{time.strftime('%H:%M:%S')} {pair}/{arguments.pairs}: kannel {theirs[-1].rate:,.0f}/s,"
                f" {side.version.name} {ours[-1].rate:,.0f}/s\n"
            )
    sys.stdout.write(
        f"\nsingle sends; {arguments.connections} connections, {arguments.pairs} pairs of {arguments.seconds:g} s,"
        f" {os.cpu_count()} cores; Kannel: store {arguments.store}, operator {arguments.operator}\n"
    )
    rows = [["", "messages/s", *bench_table.COLUMNS]]
    rows.append([f"kannel, {arguments.store}", *bench_table.cells(bench_table.median(theirs))])
    rows.append([side.version.name, *bench_table.cells(bench_table.median(ours))])
    sys.stdout.write(bench_table.table(rows + bench_table.ratios(theirs, ours)))
    return 0


def _measure(arguments: argparse.Namespace) -> Measured:
    """One run of Kannel with an empty store. Raises ServiceError if it lost or refused a message."""
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(smsc_sink.running()) if arguments.operator == "sink" else None
        kannel = stack.enter_context(running(arguments.store, operator_port=sink.port if sink else 9))

        def run(seconds: float) -> load.Run:
            return load.wrk(
                kannel.url,
                script=load.SCRIPT.with_name("kannel.lua"),
                connections=arguments.connections,
                seconds=seconds,
                environ={},
            )

        warm = run(arguments.warm_up)
        spent = sum(map(bench_cpu.seconds, kannel.processes))
        found = run(arguments.seconds)
        cost = sum(map(bench_cpu.seconds, kannel.processes)) - spent
        answered = warm.requests + found.requests
        if warm.failed or found.failed:
            why = warm.why or found.why
            raise ServiceError(f"kannel: {warm.failed + found.failed} of {answered} requests failed: {why}.")

        def are_there() -> bool:
            return kannel.kept() + (sink.taken if sink else 0) >= answered

        if not wait_until(are_there, timeout=_SECONDS):
            raise ServiceError(f"kannel: of {answered} messages it has not delivered or stored all.")
    each = 1e6 / found.requests
    return Measured(found.rate, found.p50_ms, found.p99_ms, cost * each, 0.0, 0.0, found.cpu_seconds * each)


@contextlib.contextmanager
def running(store: str, *, operator_port: int) -> Iterator[Kannel]:
    """Kannel with an empty store, while the block runs. Raises ServiceError."""
    folder = DIRECTORY / "kannel"
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob("store*"):  # also store.bak of the file store
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    if store == "spool":
        (folder / "store").mkdir()
    # Chosen for each run: smsbox refuses a port that any connection has used within the last minute.
    (folder / "ports").unlink(missing_ok=True)
    admin, boxes, sendsms = remembered_ports(folder / "ports", count=3)
    configuration = folder / "kannel.conf"
    configuration.write_text(
        _CONFIGURATION.format(
            admin=admin, boxes=boxes, sendsms=sendsms, store=store, folder=folder, operator=operator_port
        )
    )
    status = f"http://{HOST}:{admin}/status.txt?password=bench"
    url = f"http://{HOST}:{sendsms}"
    started: list[subprocess.Popen[bytes]] = []
    try:
        for program, ready in (("bearerbox", status), ("smsbox", f"{url}/cgi-bin/sendsms")):
            log = folder / f"{program}.log"
            started.append(_start(program, configuration, log))

            def is_ready(child: subprocess.Popen[bytes] = started[-1], ready: str = ready, log: Path = log) -> bool:
                if child.poll() is not None:
                    raise ServiceError(f"kannel: {log.stem} ended: {last_relevant_line(log)} (log: {log})")
                # smsbox refuses a request without a user, which is an answer.
                return answer(ready) == "ok" or "uthorization" in answer(ready)

            if not wait_until(is_ready, timeout=_SECONDS):
                raise ServiceError(f"kannel: {program} is not ready; it says {answer(ready)} (log: {log})")
        yield Kannel([psutil.Process(child.pid) for child in started], url, status)
    finally:
        for child in reversed(started):
            child.terminate()
            try:
                child.wait(_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def _start(program: str, configuration: Path, log: Path) -> subprocess.Popen[bytes]:
    path = shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:{_SBIN}")
    if path is None:
        raise ServiceError(f"{program} is missing. On Debian: apt-get install kannel")
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, str(_BOUND), str(os.getpid()), path, "-v", "3", str(configuration)],  # errors only
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", choices=("spool", "file"), default="spool", help="Kannel's store-type (spool).")
    parser.add_argument("--operator", choices=("sink", "none"), default="sink", help="Kannel's operator (sink).")
    parser.add_argument("--pairs", type=int, default=5, help="Runs of each (default 5).")
    parser.add_argument("--seconds", type=float, default=10, help="Length of a run (default 10).")
    parser.add_argument("--warm-up", type=float, default=3, help="Load before it, not measured (default 3 s).")
    parser.add_argument("--connections", type=int, default=64, help="Default 64.")
    parser.add_argument("--customers", type=int, default=1000, help="Of our accounts; Kannel has none (1,000).")
    parser.add_argument("--set", action="append", type=setting, default=[], metavar="NAME=VALUE", help="Ours.")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ServiceError as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
