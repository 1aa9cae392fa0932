"""Partitions under load, as JSON lines: python -m scripts.partition_load prepare, then the others, then clean.

prepare   two databases: an empty one; one with 400 daily partitions, 20,000,000 messages in the ten newest, a million
          in an old one (--rows for less)
lookup    partitions that a look-up by id touches, time to plan and to run it, in both
sends     single sends on both by turns: rate, p50, p99 and their ratios (--seconds 3 --runs 30 is steady)
archive   archive and restore of the million rows: times, file size, memory, equal row by row
kills     kill -9 at each point of that archive, each followed by another run
twice     two `apply` at the same moment
during    sends go on while partitions are created, detached, archived and dropped, and one is restored
sizes     bytes of each index per million messages
"""

from __future__ import annotations

import argparse
import datetime as dt
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import psycopg

from apps.devservices.processes import PROJECT_ROOT, ServiceError
from scripts import partition_data, partition_sends
from scripts.partition_data import DIRECTORY, OLD_DAY, TABLES, TODAY, customers, environ, postgres, print_line
from smsgateway import ids
from smsgateway.partitions.spans import name_of

POINTS = ("sealed", "detached", "copying", "copied", "verified")
KEPT = {f"PARTITION_{name}_KEEP_DAYS": "370" for name in ("MESSAGES", "STATUSES", "LEDGER", "SUBMITS")}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=[*PARTS, "clean"])
    parser.add_argument("--rows", type=int, default=20_000_000, help="Of prepare (default 20,000,000).")
    parser.add_argument(
        "--old-rows", type=int, default=1_000_000, help="Of prepare, in the old day (default 1,000,000)."
    )
    parser.add_argument("--seconds", type=float, default=10, help="Of a run (default 10).")
    parser.add_argument("--runs", type=int, default=3, help="Of each kind (default 3).")
    parser.add_argument("--connections", nargs="+", type=int, default=[1, 8], help="Of single sends (default 1 8).")
    parser.add_argument("--rate", type=float, default=100, help="Sends a second of during (default 100).")
    arguments = parser.parse_args()
    if arguments.what == "clean":
        shutil.rmtree(DIRECTORY, ignore_errors=True)
        return 0
    with postgres() as addresses:
        return PARTS[arguments.what](addresses, arguments)


def prepare(addresses: dict[str, str], arguments: argparse.Namespace) -> int:
    seconds = partition_data.prepare(addresses, rows=arguments.rows, old_rows=arguments.old_rows)
    with psycopg.connect(addresses["full"]) as database:
        count = database.execute(
            "SELECT count(*) FROM pg_inherits WHERE inhparent = 'sms_message'::regclass"
        ).fetchone()
        size = database.execute("SELECT pg_database_size(current_database())").fetchone()
    print_line(
        {
            "bench": "prepare",
            "messages": arguments.rows + arguments.old_rows,
            "partitions_of_messages": count and count[0],
            "bytes": size and size[0],
            "seconds": round(seconds),
        }
    )
    return 0


def lookup(addresses: dict[str, str], _arguments: argparse.Namespace) -> int:
    """The plans of two statements: with the id in the text, and prepared, as in the gateway."""
    for name, address in addresses.items():
        with psycopg.connect(address, autocommit=True, prepare_threshold=None) as database:
            last = database.execute("SELECT id FROM sms_message ORDER BY id DESC LIMIT 1").fetchone()
            message_id = last[0] if last else ids.new_id()
            planning, running, partitions = [], [], set()
            for _ in range(200):
                [[plan]] = database.execute(
                    f"EXPLAIN (ANALYZE, FORMAT JSON) SELECT * FROM sms_message WHERE id = '{message_id}'"
                ).fetchall()
                planning.append(plan[0]["Planning Time"])
                running.append(plan[0]["Execution Time"])
                partitions.add(plan[0]["Plan"].get("Relation Name", "several"))
            prepared, pruned = [], None
            database.execute("SET plan_cache_mode = force_generic_plan")
            database.execute("PREPARE by_id (uuid) AS SELECT * FROM sms_message WHERE id = $1")
            for _ in range(200):
                started = time.perf_counter()
                database.execute(f"EXECUTE by_id ('{message_id}')").fetchall()
                prepared.append((time.perf_counter() - started) * 1000)
            [[generic]] = database.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE by_id ('{message_id}')").fetchall()
            pruned = generic[0]["Plan"].get("Subplans Removed", 0)
        print_line(
            {
                "bench": "lookup",
                "database": name,
                "partitions_touched": sorted(partitions),
                "planning_ms_first": round(planning[0], 3),
                "planning_ms_median": round(statistics.median(planning), 3),
                "execution_ms_median": round(statistics.median(running), 3),
                "prepared_generic_ms_median": round(statistics.median(prepared), 3),
                "prepared_generic_partitions_pruned": pruned,
            }
        )
    return 0


def sends(addresses: dict[str, str], arguments: argparse.Namespace) -> int:
    """Measure the empty and the full database in turn."""
    failed = sum(
        partition_sends.compare(addresses, connections=connections, seconds=arguments.seconds, runs=arguments.runs)
        for connections in arguments.connections
    )
    return 1 if failed else 0


def archive(addresses: dict[str, str], _arguments: argparse.Namespace) -> int:
    """Archive and restore the old day's partitions, and compare each with a copy."""
    equal = True
    with psycopg.connect(addresses["full"], autocommit=True) as database:
        for table in TABLES:
            database.execute(f"DROP TABLE IF EXISTS copied_{table}")
            database.execute(f"CREATE UNLOGGED TABLE copied_{table} AS TABLE {name_of(table, OLD_DAY)}")
        archived = {table: job(addresses["full"], "archive", name_of(table, OLD_DAY)) for table in TABLES}
        for table in reversed(TABLES):
            name = name_of(table, OLD_DAY)
            row = database.execute("SELECT manifest FROM partition_archive WHERE partition = %s", [name]).fetchone()
            manifest: Any = row and row[0]
            restored, restore_memory = job(addresses["full"], "restore", name)
            differing = differences(database, table)
            equal &= differing == 0
            print_line(
                {
                    "bench": "archive",
                    "partition": name,
                    "rows": manifest["rows"],
                    "archive_seconds": round(archived[table][0], 1),
                    "restore_seconds": round(restored, 1),
                    "file_bytes": manifest["bytes"],
                    "bytes_a_row": round(manifest["bytes"] / max(manifest["rows"], 1), 1),
                    "peak_memory_mb": {"archive": archived[table][1], "restore": restore_memory},
                    "rows_that_differ": differing,
                }
            )
        for table in TABLES:
            database.execute(f"DROP TABLE copied_{table}")
    return 0 if equal else 1


def kills(addresses: dict[str, str], _arguments: argparse.Namespace) -> int:
    """Archive the messages' partition: kill the run at each point; the next run must finish it."""
    name = name_of("sms_message", OLD_DAY)
    lost = 0
    with psycopg.connect(addresses["full"], autocommit=True) as database:
        database.execute("DROP TABLE IF EXISTS copied_sms_message")
        database.execute(f"CREATE UNLOGGED TABLE copied_sms_message AS TABLE {name}")
        for point in POINTS:
            killed = manage(addresses["full"], "archive", name, PARTITIONS_KILL_AT=point)
            if killed.wait() != -signal.SIGKILL:
                raise ServiceError(f"It was not killed at {point}.")
            database.execute("SELECT pg_advisory_lock(1397576528), pg_advisory_unlock(1397576528)")
            again, _ = job(addresses["full"], "archive", name)
            job(addresses["full"], "restore", name)
            differing = differences(database, "sms_message")
            lost += differing
            print_line({"bench": "kills", "at": point, "rerun_seconds": round(again, 1), "rows_that_differ": differing})
        database.execute("DROP TABLE copied_sms_message")
    return 1 if lost else 0


def twice(addresses: dict[str, str], arguments: argparse.Namespace) -> int:
    """Start two runs together, with many partitions to create."""
    ahead = str(60 + 10 * int(time.time() % 10))
    both = [manage(addresses["full"], "apply", PARTITION_DAYS_AHEAD=ahead, PARTITION_ARCHIVE="") for _ in range(2)]
    ended = []
    for process in both:
        out, error = process.communicate()
        ended.append({"status": process.returncode, "said": (out + error).strip().splitlines()[-1:]})
    print_line({"bench": "twice", "runs": ended})
    return 0 if sorted(run["status"] for run in ended) == [0, 75] else 1  # type: ignore[type-var]


def during(addresses: dict[str, str], arguments: argparse.Namespace) -> int:
    """Archive and restore the million rows; then let the daily job catch up two weeks, in all tables."""
    address = addresses["full"]
    name = name_of("sms_message", OLD_DAY)
    with partition_sends.api(address) as gateway:
        sender = partition_sends.Sender(gateway.api_url, customers(address), rate=arguments.rate)
        with sender:
            time.sleep(arguments.seconds)
            phases = {"before": sender.cut()}
            marks = []
            for action, options in (
                ("archive", [name]),
                ("restore", [name, "--days", "0"]),
                ("apply", ["--open-too"]),
            ):
                seconds, _ = job(address, action, *options, PARTITION_DAYS_AHEAD="45", **KEPT)
                marks.append((action, round(seconds, 1)))
                phases[action] = sender.cut()
            time.sleep(arguments.seconds)
            phases["after"] = sender.cut()
        gateway.check()
    with psycopg.connect(address) as database:
        counted = database.execute("SELECT state, count(*) FROM partition_archive GROUP BY state").fetchall()
    for phase, latencies in phases.items():
        print_line({"bench": "during", "phase": phase} | partition_sends.measured(latencies))
    print_line({"bench": "during", "seconds": dict(marks), "partitions": dict(counted), "not_200": sender.failed})
    return 1 if sender.failed else 0


def sizes(addresses: dict[str, str], _arguments: argparse.Namespace) -> int:
    """The sizes of yesterday's partitions, per million messages."""
    day = TODAY - dt.timedelta(days=1)
    with psycopg.connect(addresses["full"]) as database:
        [(messages,)] = database.execute(f"SELECT count(*) FROM {name_of('sms_message', day)}").fetchall()
        for table in TABLES:
            rows = database.execute(
                "SELECT indexrelid::regclass::text, pg_relation_size(indexrelid), pg_get_indexdef(indexrelid)"
                " FROM pg_index WHERE indrelid = %s::regclass ORDER BY 1",
                [name_of(table, day)],
            ).fetchall()
            [(heap,)] = database.execute("SELECT pg_table_size(%s)", [name_of(table, day)]).fetchall()
            for index, size, definition in [("(rows)", heap, ""), *rows]:
                megabytes = round(size / 1e6 / (messages / 1e6), 1)
                print_line(
                    {
                        "bench": "sizes",
                        "table": table,
                        "index": index,
                        "of": definition[-70:],
                        "mb_a_million": megabytes,
                    }
                )
        # Submits, inserted row by row as settlement does; operators' ids in random order.
        database.execute("CREATE TEMPORARY TABLE submits (LIKE sms_submittedpart INCLUDING ALL)")
        database.execute(
            "INSERT INTO submits SELECT gen_random_uuid(), 1, 1, gen_random_uuid(), 'mci', md5(number::text), ''"
            " FROM generate_series(1, 200000) AS number"
        )
        for index, size in database.execute(
            "SELECT '(rows)', pg_table_size('submits') UNION ALL"
            " SELECT indexrelid::regclass::text, pg_relation_size(indexrelid) FROM pg_index"
            " WHERE indrelid = 'submits'::regclass"
        ).fetchall():
            print_line(
                {"bench": "sizes", "table": "sms_submittedpart", "index": index, "mb_a_million": round(size / 0.2e6, 1)}
            )
        hot = database.execute(
            "SELECT n_tup_upd, n_tup_hot_upd, array_to_string(reloptions, ' ') FROM pg_stat_user_tables"
            " JOIN pg_class ON pg_class.oid = relid WHERE pg_class.relname = 'balance_account'"
        ).fetchone()
        print_line({"bench": "sizes", "table": "balance_account", "updates, of them within their page, storage": hot})
    return 0


def manage(address: str, *arguments: str, **own: str) -> subprocess.Popen[str]:
    """Start `manage.py partitions …`."""
    return subprocess.Popen(
        [sys.executable, "manage.py", "partitions", *arguments],
        cwd=PROJECT_ROOT,
        env=environ(address, **own),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def job(address: str, *arguments: str, **own: str) -> tuple[float, int]:
    """Run it to its end. Returns its seconds, and the peak memory (MB) of any child so far."""
    started = time.monotonic()
    process = manage(address, *arguments, **own)
    _, error = process.communicate()
    if process.returncode:
        raise ServiceError(f"partitions {' '.join(arguments)}: {error.strip().splitlines()[-1]}")
    return time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024


def differences(database: psycopg.Connection[Any], table: str) -> int:
    """The number of rows that differ between the old day's partition and its copy."""
    name = name_of(table, OLD_DAY)
    [(count,)] = database.execute(
        f"SELECT (SELECT count(*) FROM (TABLE {name} EXCEPT ALL TABLE copied_{table}) AS more)"
        f" + (SELECT count(*) FROM (TABLE copied_{table} EXCEPT ALL TABLE {name}) AS less)"
    ).fetchall()
    return int(count)


PARTS: dict[str, Callable[[dict[str, str], argparse.Namespace], int]] = {
    "prepare": prepare,
    "lookup": lookup,
    "sends": sends,
    "archive": archive,
    "kills": kills,
    "twice": twice,
    "during": during,
    "sizes": sizes,
}

if __name__ == "__main__":
    try:
        sys.exit(main())
    except ServiceError as error:
        sys.exit(f"partition_load: {error}")
