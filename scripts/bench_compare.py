"""Compares this checkout with another version: both by turns on one PostgreSQL server. Prints a table for each case.

make bench COMPARE=f38a488
make bench COMPARE=HEAD~3 BENCH="--cases send one --pairs 7 --seconds 15"

Each version is run as it ships: its Procfile starts it, with its own defaults and the settings that a case needs (hot
and batch: no limit of messages a minute). Both use one PostgreSQL server with fsync. Each has a database there that its
own migrations made, with its own indexes. Every run starts the API of one version on a fresh copy of that database
after a checkpoint, warms it up, measures, and stops it; the next run is the other version's. So neither has the other
beside it, and a disturbance of the machine meets both.

A run fails if the API answers anything but 200, if a message was not paid exactly once, if a balance is not the sum of
its ledger, or if the database does not hold what was answered.

Rates are messages a second (receipts: receipts), CPU time is in microseconds for each of them: of all processes of the
API, of PostgreSQL, and of wrk; WAL is PostgreSQL's write-ahead log, which also holds whole pages after a checkpoint.
Ratios are this checkout's figure by the other's: in the first column more is better, in all others less.
`ratio of each pair` has the lowest, the median and the highest of all pairs.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

from apps.devservices.processes import PROJECT_ROOT, ServiceError
from scripts import bench_cases, bench_table, bench_versions
from scripts.bench_cases import CASES, Case, Measured, Side

DIRECTORY = PROJECT_ROOT / ".devservices" / "bench"


def main() -> int:
    arguments = _arguments()
    cases = [CASES[name] for name in arguments.cases]
    versions = [bench_versions.at(arguments.ref, cache=arguments.directory / "versions"), bench_versions.here()]
    settings = [dict(arguments.set_ref), dict(arguments.set)]
    with bench_cases.services(
        arguments.directory, kafka="receipts" in arguments.cases, server=arguments.server
    ) as addresses:
        sides = []
        for version, extra in zip(versions, settings, strict=True):
            _progress(f"{version.name}: migrating, {arguments.customers} customers")
            sides.append(
                bench_cases.prepare(
                    version,
                    addresses=addresses,
                    directory=arguments.directory,
                    customers=arguments.customers,
                    settings=extra,
                )
            )
        # Last, so that the other cases run without these messages.
        for case in sorted(cases, key=lambda case: case.name == "receipts"):
            if case.name == "receipts":
                for side in sides:
                    _progress(f"{side.version.name}: submitting {arguments.receipts} messages to the simulator")
                    bench_cases.submit_messages(side, arguments.receipts)
            _compare(case, sides, arguments)
    return 0


def _compare(case: Case, sides: list[Side], arguments: argparse.Namespace) -> None:
    connections = arguments.connections or case.connections
    runs: list[list[Measured]] = [[], []]
    for pair in range(1, arguments.pairs + 1):
        for side, found in zip(sides, runs, strict=True):
            one = bench_cases.run(
                side, case, connections=connections, seconds=arguments.seconds, warm_up=arguments.warm_up
            )
            _progress(f"{case.name} {pair}/{arguments.pairs} {side.version.name}: {one.rate:,.0f}/s")
            found.append(one)
    customers = min(case.customers or arguments.customers, arguments.customers)
    sys.stdout.write(
        f"\n{case.name}: {case.about}; {connections} connections, {customers:,} customers, {arguments.pairs} pairs of"
        f" {arguments.seconds:g} s, {os.cpu_count()} cores\n"
    )
    rows = [["", f"{case.unit}/s", *bench_table.COLUMNS]]
    for side, found in zip(sides, runs, strict=True):
        rows.append([side.version.name, *bench_table.cells(bench_table.median(found))])
    sys.stdout.write(bench_table.table(rows + bench_table.ratios(*runs)))
    sys.stdout.flush()
    _record(arguments.directory / "compare.jsonl", case, connections, sides, runs)


def _record(file: Path, case: Case, connections: int, sides: list[Side], runs: list[list[Measured]]) -> None:
    """Add every single run to the file, one JSON object for a case."""
    document = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "case": case.name,
        "connections": connections,
        "cpus": os.cpu_count(),
        "runs": [
            {"version": side.version.name, "runs": [one._asdict() for one in found]}
            for side, found in zip(sides, runs, strict=True)
        ],
    }
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(document) + "\n")


def _progress(text: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")


def setting(text: str) -> tuple[str, str]:
    """NAME=VALUE of an option."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ref", help="The other version: a commit, branch or tag of this repository.")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), help="Default: all, in this order.")
    parser.add_argument("--pairs", type=int, default=5, help="Runs of each version (default 5).")
    parser.add_argument("--seconds", type=float, default=10, help="Length of a run (default 10).")
    parser.add_argument("--warm-up", type=float, default=3, help="Load before it, not measured (default 3 s).")
    parser.add_argument("--customers", type=int, default=1000, help="Default 1,000.")
    parser.add_argument("--connections", type=int, help="Instead of the number of each case.")
    parser.add_argument(
        "--receipts", type=int, default=90_000, help="Messages to submit for their receipts (default 90,000)."
    )
    parser.add_argument(
        "--set", action="append", type=setting, default=[], metavar="NAME=VALUE", help="A setting of this checkout."
    )
    parser.add_argument(
        "--set-ref", action="append", type=setting, default=[], metavar="NAME=VALUE", help="Of the other version."
    )
    parser.add_argument(
        "--directory",
        type=lambda text: Path(text).resolve(),
        default=DIRECTORY,
        help="For services, versions, logs, and compare.jsonl, to which each run is added (.devservices/bench).",
    )
    parser.add_argument(
        "--server",
        metavar="URL",
        help="Another PostgreSQL on this machine, as its superuser: databases bench_… are created there. For figures"
        " of a server that you tuned.",
    )
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ServiceError as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
