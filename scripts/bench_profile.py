"""Profiles one process of the API under load: a flame graph, and the functions that take most of its time.

make bench PROFILE=send
make bench PROFILE=receipts BENCH="--seconds 20"

The cases are those of `make bench COMPARE=`. py-spy samples the busiest process twice, once for the flame graph (an SVG
to open in a browser), once for the list. `own`: samples in the function itself; `with callees`: also in what it called.
A sample counts only while the process is running, in Python or in a system call.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from apps.devservices.processes import ServiceError
from scripts import bench_cases, bench_cpu, bench_table, bench_versions
from scripts.bench_cases import CASES, Case, Side
from scripts.bench_compare import DIRECTORY, setting
from scripts.bench_processes import Processes

_FORMATS = ("flamegraph", "raw")
# The load goes on a little longer than the sampling: py-spy takes a while to begin.
_MARGIN = 5.0
_LOOK = 1.0  # seconds


def main() -> int:
    arguments = _arguments()
    case = CASES[arguments.case]
    folder = DIRECTORY / "profiles"
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{case.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    files = [folder / f"{name}.svg", folder / f"{name}.txt"]
    with bench_cases.services(DIRECTORY, kafka=case.unit == "receipts") as addresses:
        side = bench_cases.prepare(
            bench_versions.here(),
            addresses=addresses,
            directory=DIRECTORY,
            customers=arguments.customers,
            settings=dict(arguments.set),
        )
        if case.unit == "receipts":
            bench_cases.submit_messages(side, arguments.receipts)
        _profile(side, case, arguments, files)
    stacks = [line for line in files[1].read_text().splitlines() if not line.startswith(" ")]
    if not stacks:  # py-spy samples an ended process without a word
        raise ServiceError("the load was over before py-spy had begun its second part: this machine is too busy.")
    sys.stdout.write(_top(stacks, arguments.top))
    sys.stdout.write(f"\nflame graph: {files[0]}\nstacks:      {files[1]}\n")
    return 0


def _profile(side: Side, case: Case, arguments: argparse.Namespace, files: list[Path]) -> None:
    def sample(processes: Processes) -> None:
        busiest = _busiest(processes)
        for kind, file in zip(_FORMATS, files, strict=True):
            _record(busiest, kind, file, arguments)

    seconds = len(_FORMATS) * (arguments.seconds + _MARGIN)
    with ThreadPoolExecutor(1) as beside:
        sampled = []
        bench_cases.run(
            side,
            case,
            connections=arguments.connections or case.connections,
            seconds=seconds,
            warm_up=arguments.warm_up,
            beside=lambda processes: sampled.append(beside.submit(sample, processes)),
        )
        for each in sampled:
            each.result()


def _busiest(processes: Processes) -> psutil.Process:
    """Of the API's processes, the one that takes most CPU time under this load."""
    master = processes.process("api")
    before = {process: bench_cpu.own_seconds(process) for process in (master, *master.children(recursive=True))}
    time.sleep(_LOOK)
    return max(before, key=lambda process: bench_cpu.own_seconds(process) - before[process])


def _record(process: psutil.Process, kind: str, file: Path, arguments: argparse.Namespace) -> None:
    program = shutil.which("py-spy", path=f"{Path(sys.executable).parent}")
    if program is None:
        raise ServiceError("py-spy is missing. It is one of requirements-dev.txt: make build")
    options = ["--pid", process.pid, "--duration", round(arguments.seconds), "--rate", arguments.rate]
    options += ["--format", kind, "--output", file, *(["--gil"] if arguments.gil else [])]
    done = subprocess.run([program, "record", *map(str, options)], capture_output=True, text=True, check=False)
    if done.returncode or not file.exists():
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ServiceError(
            f"py-spy: {reason}. It must be allowed to read another process: run it as root, set"
            " /proc/sys/kernel/yama/ptrace_scope to 0, or give the container the capability SYS_PTRACE."
        )


def _top(stacks: Iterable[str], count: int) -> str:
    """The functions with most samples of their own, and those with most samples together with what they called."""
    own: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for line in stacks:
        stack, _, samples = line.rpartition(" ")
        # py-spy's frames are `function (file:line)`. Lines of one function belong together.
        frames = [frame.rpartition(":")[0] + ")" if ":" in frame else frame for frame in stack.split(";")]
        own[frames[-1]] += int(samples)
        for frame in set(frames):
            total[frame] += int(samples)
    everything = own.total() or 1
    parts = []
    for title, found in (("own", own), ("with callees", total)):
        rows = [["function", title]]
        rows += [[frame, f"{100 * samples / everything:.1f} %"] for frame, samples in found.most_common(count)]
        parts.append(bench_table.table(rows))
    return "\n".join(parts)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", choices=CASES)
    parser.add_argument("--seconds", type=float, default=6, help="Length of each of the two samplings (default 6).")
    parser.add_argument("--rate", type=int, default=200, help="Samples a second (default 200).")
    parser.add_argument("--gil", action="store_true", help="Count a sample only if it holds the interpreter's lock.")
    parser.add_argument("--top", type=int, default=30, help="Functions in each list (default 30).")
    parser.add_argument("--warm-up", type=float, default=3, help="Load before it, not sampled (default 3 s).")
    parser.add_argument("--customers", type=int, default=1000, help="Default 1,000.")
    parser.add_argument("--connections", type=int, help="Instead of the case's number.")
    parser.add_argument("--receipts", type=int, default=150_000, help="Messages to submit for receipts (150,000).")
    parser.add_argument("--set", action="append", type=setting, default=[], metavar="NAME=VALUE", help="A setting.")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ServiceError as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
