"""A partition goes to the archive and comes back: row by row the same, whatever happens on the way."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pyarrow.parquet as pq
import pytest
from django.core.management import CommandError
from django.db import connection

from apps.balance.models import Closing, LedgerEntry
from apps.balance.selectors import accounts_off, ledger_list
from apps.sms.models import Message, ScheduledEntry
from smsgateway import ids, partitions
from smsgateway.http.paging import Page
from smsgateway.models import ArchivedPartition
from tests.support.customers import MakeCustomer
from tests.support.database import database_url
from tests.support.partitions import BEFORE, LEDGER, MESSAGES, NAMES, OLD, configure, fill, rows_of, run

pytestmark = pytest.mark.usefixtures("old_partitions")

ROOT = Path(__file__).parents[3]
POINTS = ("sealed", "detached", "copying", "copied", "verified", "dropped")


def state_of(partition: str) -> str | None:
    return ArchivedPartition.objects.filter(partition=partition).values_list("state", flat=True).first()


def in_process(*arguments: str, archive: Path, kill_at: str = "") -> subprocess.CompletedProcess[str]:
    """`manage.py partitions …` as a process of its own; `kill_at`: the point at which it gets SIGKILL."""
    process = start(*arguments, archive=archive, kill_at=kill_at)
    out, error = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, out, error)


def start(*arguments: str, archive: Path, kill_at: str = "") -> subprocess.Popen[str]:
    """The same, without waiting for its end."""
    environ = os.environ | {
        "DATABASE_URL": database_url(),
        "PARTITION_ARCHIVE": str(archive),
        "PARTITION_LEDGER_KEEP_DAYS": "90",
        "PARTITIONS_KILL_AT": kill_at,
    }
    return subprocess.Popen(
        [sys.executable, "manage.py", "partitions", *arguments],
        cwd=ROOT,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def until_the_lock_is_free() -> None:
    """The server notices within a second that a killed client is gone, and ends what it did for it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [partitions.catalog.LOCK])
        cursor.execute("SELECT pg_advisory_unlock(%s)", [partitions.catalog.LOCK])


def test_apply_archives_what_is_past_its_retention_and_nothing_else(make_customer: MakeCustomer, archive: Path) -> None:
    fill(make_customer(), 10)
    before = {table: partitions.names(table) for table in partitions.TABLES}
    planned = [line.split()[1] for line in run("plan").splitlines() if line.startswith("archive")]
    assert planned == list(NAMES.values())
    assert run("apply") == "0 partitions created, 4 archived.\n"
    for table, old in NAMES.items():
        assert partitions.names(table) == [name for name in before[table] if name != old]
        assert state_of(old) == "archived"
    assert run("apply") == "0 partitions created, 0 archived.\n"
    assert not accounts_off()
    run("check")


def test_the_manifest_says_what_the_file_holds(make_customer: MakeCustomer, archive: Path) -> None:
    first = fill(make_customer(), 10)
    expected = list(Message.objects.filter(id__lt=BEFORE).order_by("id").values_list("id", "text", "metadata"))
    run("archive", MESSAGES)
    manifest = json.loads((archive / f"sms_message/{MESSAGES}.1.manifest.json").read_text())
    file = archive / manifest["file"]
    assert (manifest["rows"], manifest["min_id"]) == (10, str(first))
    assert manifest["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert manifest["bytes"] == file.stat().st_size
    assert len(manifest["schema_version"]) == 12
    table = pq.read_table(file)
    assert pq.read_metadata(file).row_group(0).column(0).compression == "ZSTD"
    found = [(row["id"], row["text"], row["metadata"] and json.loads(row["metadata"])) for row in table.to_pylist()]
    assert found == [(str(id_), text, metadata) for id_, text, metadata in expected]
    assert manifest["max_id"] == found[-1][0]


def test_restored_partitions_are_row_by_row_what_they_were(make_customer: MakeCustomer, archive: Path) -> None:
    fill(make_customer(), 120)
    before = {table: rows_of(table) for table in NAMES}
    assert len(before["sms_statusentry"]) == 240
    run("apply")
    assert all(rows_of(table) == [] for table in NAMES)
    run("restore", *NAMES.values())
    assert {table: rows_of(table) for table in NAMES} == before
    assert not accounts_off()
    assert not Closing.objects.exists()


def test_a_restored_partition_stays_as_long_as_it_was_asked_to(make_customer: MakeCustomer, archive: Path) -> None:
    fill(make_customer(), 10)
    run("apply")
    run("restore", LEDGER, "--days", "2")
    assert run("apply") == "0 partitions created, 0 archived.\n"
    ArchivedPartition.objects.update(keep_until=dt.datetime.now(tz=dt.UTC) - dt.timedelta(minutes=1))
    assert run("apply") == "0 partitions created, 1 archived.\n"
    # The newer archive is whole, so the older one is no more.
    assert sorted(path.name for path in (archive / "balance_ledgerentry").iterdir()) == [
        f"{LEDGER}.2.manifest.json",
        f"{LEDGER}.2.parquet",
    ]
    assert not accounts_off()


def test_an_empty_partition_goes_and_comes_back(archive: Path) -> None:
    run("archive", MESSAGES)
    assert ArchivedPartition.objects.get().manifest["rows"] == 0
    run("restore", MESSAGES)
    assert MESSAGES in partitions.names("sms_message")


def test_restoring_messages_brings_their_log_along(make_customer: MakeCustomer, archive: Path) -> None:
    fill(make_customer(), 3)
    run("apply")
    run("restore", MESSAGES)
    assert len(rows_of("sms_statusentry")) == 6


def test_restore_attaches_without_looking_through_the_rows(make_customer: MakeCustomer, archive: Path) -> None:
    fill(make_customer(), 3)
    run("archive", MESSAGES)
    run("restore", MESSAGES)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %s::regclass AND contype = 'c'",
            [MESSAGES],
        )
        constraints = [row[0] for row in cursor.fetchall()]
    assert any(str(ids.lowest_id(OLD)) in told and str(BEFORE) in told for told in constraints)


@pytest.mark.parametrize(
    ("table", "point"),
    [
        *(("sms_message", point) for point in POINTS),
        ("balance_ledgerentry", "sealed"),
        ("balance_ledgerentry", "detached"),
    ],
)
def test_killed_at_any_point_a_rerun_ends_it_without_a_row_lost(
    make_customer: MakeCustomer, archive: Path, table: str, point: str
) -> None:
    customer_id = make_customer()
    fill(customer_id, 50)
    before = rows_of(table)
    if table == "balance_ledgerentry":
        run("archive", MESSAGES)
    name = NAMES[table]
    killed = in_process("archive", name, archive=archive, kill_at=point)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    until_the_lock_is_free()
    assert not accounts_off()
    if point != "dropped":
        # By the daily job, as it happens. `dropped`: it was done.
        again = in_process("apply", archive=archive)
        assert again.returncode == 0, again.stderr
    assert state_of(name) == "archived"
    assert not partitions.catalog.exists(name)
    assert not accounts_off()
    run("restore", name)
    assert rows_of(table) == before
    assert not accounts_off()


@contextlib.contextmanager
def half_way(archive: Path) -> Iterator[subprocess.Popen[str]]:
    """A run that archives MESSAGES and waits for a reader, the partition half detached."""
    with psycopg.connect(database_url()) as reader:
        reader.execute("SELECT count(*) FROM sms_message")
        waiting = start("archive", MESSAGES, archive=archive)
        try:
            pause = threading.Event()
            while not any(partition.is_leaving for partition in partitions.catalog.attached("sms_message")):
                assert waiting.poll() is None
                pause.wait(0.05)
            yield waiting
        except BaseException:
            waiting.kill()
            waiting.communicate()
            raise


def test_a_detach_that_is_interrupted_is_finalized(make_customer: MakeCustomer, archive: Path) -> None:
    fill(make_customer(), 20)
    before = rows_of("sms_message")
    with half_way(archive) as waiting:
        waiting.kill()
        waiting.communicate()
        until_the_lock_is_free()
        assert rows_of("sms_message") == []  # new statements do not see it any more
        with pytest.raises(CommandError, match="half detached"):
            run("check")
    assert run("archive", MESSAGES) == f"{MESSAGES} archived: 20 rows, sms_message/{MESSAGES}.1.parquet.\n"
    run("restore", MESSAGES)
    assert rows_of("sms_message") == before


def test_of_two_at_once_the_second_leaves_and_says_why(make_customer: MakeCustomer, archive: Path) -> None:
    fill(make_customer(), 20)
    with half_way(archive) as first:
        second = in_process("apply", archive=archive)
        assert second.returncode == 75
        assert "Another maintenance of partitions is at work: process" in second.stderr
        assert "smsgateway partitions archive" in second.stderr
    out, error = first.communicate()
    assert first.returncode == 0, error
    assert "20 rows" in out


def test_the_books_are_right_while_a_partition_is_half_detached(make_customer: MakeCustomer, archive: Path) -> None:
    fill(make_customer(), 20)
    run("archive", MESSAGES)
    with psycopg.connect(database_url()) as reader:
        reader.execute("SELECT count(*) FROM balance_ledgerentry")
        waiting = start("archive", LEDGER, archive=archive)
        pause = threading.Event()
        while not any(partition.is_leaving for partition in partitions.catalog.attached("balance_ledgerentry")):
            assert waiting.poll() is None
            assert not accounts_off()
            pause.wait(0.01)
        assert not accounts_off()
    waiting.communicate()
    assert waiting.returncode == 0
    assert not accounts_off()


def test_a_file_that_does_not_read_back_as_it_was_is_not_trusted(
    make_customer: MakeCustomer, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from smsgateway.partitions import parquet

    fill(make_customer(), 20)
    before = rows_of("sms_message")
    honest = parquet.file_batches

    def forgetful(*arguments: Any) -> Any:
        for batch in honest(*arguments):
            yield batch.slice(1)

    with monkeypatch.context() as patch:
        patch.setattr(parquet, "file_batches", forgetful)
        with pytest.raises(CommandError, match="does not read back"):
            run("archive", MESSAGES)
    assert partitions.catalog.exists(MESSAGES)
    run("restore", MESSAGES)  # it never went: it is attached again
    assert rows_of("sms_message") == before


def test_a_damaged_archive_is_not_restored(make_customer: MakeCustomer, archive: Path) -> None:
    fill(make_customer(), 20)
    run("archive", MESSAGES)
    file = archive / ArchivedPartition.objects.get().manifest["file"]
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(CommandError, match="SHA-256 differs"):
        run("restore", MESSAGES)
    assert not partitions.catalog.exists(MESSAGES)
    assert state_of(MESSAGES) == "archived"


def test_nothing_is_detached_that_the_archive_cannot_take(
    make_customer: MakeCustomer, archive: Path, settings: Any, tmp_path: Path
) -> None:
    fill(make_customer(), 3)
    (tmp_path / "file").touch()
    configure(settings, archive=str(tmp_path / "file"))
    with pytest.raises(CommandError, match="cannot be written"):
        run("apply")
    assert MESSAGES in partitions.names("sms_message")
    assert not ArchivedPartition.objects.exists()
    configure(settings, archive="")
    assert run("apply") == "0 partitions created, 0 archived.\n"
    assert MESSAGES in partitions.names("sms_message")


def test_a_sealed_partition_takes_no_row_any_more(make_customer: MakeCustomer, archive: Path) -> None:
    customer_id = make_customer()
    fill(customer_id, 3)
    in_process("archive", LEDGER, archive=archive)  # held: its messages go first
    assert state_of(LEDGER) is None
    run("archive", MESSAGES)
    in_process("archive", LEDGER, archive=archive, kill_at="sealed")
    until_the_lock_is_free()
    entry = LedgerEntry(
        id=ids.lowest_id(OLD), customer_id=customer_id, entry=99, kind="charge", amount=-1, balance_after=0
    )
    with pytest.raises(Exception, match="is being archived"):
        entry.save(force_insert=True)


def test_messages_that_wait_or_have_not_ended_hold_their_partition(make_customer: MakeCustomer, archive: Path) -> None:
    customer_id = make_customer()
    first = fill(customer_id, 3)
    entry = ScheduledEntry.objects.create(message_id=first, customer_id=customer_id, send_at=dt.datetime.now(tz=dt.UTC))
    with pytest.raises(CommandError, match="1 of its messages wait for their hour"):
        run("apply")
    entry.delete()
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM sms_statusentry WHERE message_id = %s AND status = 'delivered'", [first])
    with pytest.raises(CommandError, match="1 of its messages have not ended"):
        run("apply")
    # The log and the ledger wait for the messages, without a complaint of their own.
    assert [state_of(name) for name in NAMES.values()] == [None, None, None, "archived"]
    assert run("apply", "--open-too") == "0 partitions created, 3 archived.\n"


def test_submits_that_were_not_swept_hold_their_partition(archive: Path) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO sms_submittedpart VALUES (%s, 1, 1, %s, 'mci', '1')", [ids.lowest_id(OLD), ids.new_id()]
        )
        with pytest.raises(CommandError, match="does settlement run"):
            run("archive", NAMES["sms_submittedpart"])
        cursor.execute("UPDATE sms_receiptsweep SET position = %s", [ids.lowest_id(OLD)])
        try:
            run("archive", NAMES["sms_submittedpart"])
        finally:
            cursor.execute("UPDATE sms_receiptsweep SET position = %s", [str(ids.UUID(int=0))])


def test_the_ledgers_archive_leaves_closing_rows(make_customer: MakeCustomer, archive: Path) -> None:
    customer_id = make_customer(balance=10_000)
    fill(customer_id, 20)
    run("apply")
    closing = Closing.objects.get()
    assert (closing.customer_id, closing.amount, closing.entries) == (customer_id, -2000, 20)
    assert (closing.first_entry, closing.last_entry, closing.balance_after) == (2, 21, 8000)
    assert not accounts_off()
    assert not accounts_off(customer_ids=[customer_id])
    Closing.objects.update(amount=-1999)
    assert [(off.customer_id, off.balance, off.ledger_balance) for off in accounts_off()] == [(customer_id, 8000, 8001)]
    now = dt.datetime.now(tz=dt.UTC)
    page = Page(OLD, now, 50, None)
    assert [entry.entry for entry in ledger_list(customer_id=customer_id, page=page)] == [1]


def test_a_day_that_is_not_over_is_not_archived(archive: Path) -> None:
    today = partitions.name_of("sms_message", dt.datetime.now(tz=dt.UTC).date())
    with pytest.raises(CommandError, match="is not over"):
        run("archive", today)
    assert state_of(today) is None
