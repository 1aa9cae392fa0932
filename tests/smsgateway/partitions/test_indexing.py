"""Indexes on partitioned tables are built by migrations while sends go on, and by a second run if one is cut short."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from django.db import OperationalError, connection
from django.db.migrations.loader import MigrationLoader

from apps.balance.services import account_adjust
from smsgateway import ids, partitions
from smsgateway.partitions import indexing
from smsgateway.partitions.catalog import LOCK
from smsgateway.partitions.indexing import Index, index_build
from tests.support.callbacks import accept, wait_for
from tests.support.customers import MakeCustomer
from tests.support.database import database_url

TODAY = dt.datetime.now(tz=dt.UTC).date()
PARTITION = partitions.name_of("sms_message", TODAY)
INDEX = Index("sms_message", "sms_message_operator", ["operator", "id"], where="operator <> 'nobody'")
BUILDS = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX CONCURRENTLY%%' AND wait_event_type = 'Lock'"


def ask(statement: str, *parameters: object) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchall()


def indexed(index: str) -> dict[str, bool]:
    """The partitions whose index belongs to this one, and whether theirs is valid."""
    return dict(
        ask(
            "SELECT indrelid::regclass::text, indisvalid FROM pg_inherits JOIN pg_index ON indexrelid = inhrelid"
            " WHERE inhparent = %s::regclass",
            index,
        )
    )


def is_whole(index: Index) -> bool:
    """Whether each partition has it, and PostgreSQL says so of the parent."""
    found = indexed(index.name)
    [(valid,)] = ask("SELECT indisvalid FROM pg_index WHERE indexrelid = %s::regclass", index.name)
    return valid and all(found.values()) and sorted(found) == partitions.names(index.table)


@pytest.fixture
def thread(transactional_db: None) -> Iterator[ThreadPoolExecutor]:
    """What runs in it has a connection of its own, which ends with the test; the index that tests make goes."""
    with ThreadPoolExecutor(1) as executor:
        yield executor
        executor.submit(lambda: connection.close())  # of that thread
    ask_nothing(f"DROP INDEX IF EXISTS {INDEX.name}")
    for name in partitions.names("sms_message"):
        ask_nothing(f"DROP INDEX IF EXISTS {name}_operator")


def ask_nothing(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


@contextmanager
def a_writer(partition: str = PARTITION) -> Iterator[None]:
    """A transaction that has written to the partition and has not ended: its index cannot be finished."""
    with psycopg.connect(database_url()) as writing:
        writing.execute(
            f"INSERT INTO {partition} SELECT (%s::text)::uuid, %s, '', '', '', '', 1, 1, '', '', now()",
            [str(ids.lowest_id(dt.datetime.now(tz=dt.UTC))), ids.new_id()],
        )
        yield
        writing.rollback()


def build_is_held() -> list[Any]:
    return ask(BUILDS)


def apply(app: str, name: str) -> None:
    """Run one migration alone, whether newer ones have run or not."""
    loader = MigrationLoader(connection)
    with connection.schema_editor(atomic=False) as editor:
        loader.get_migration(app, name).apply(loader.project_state((app, name), at_end=False), editor)


def test_sends_wait_for_no_migration_that_builds_an_index(
    thread: ThreadPoolExecutor, make_customer: MakeCustomer
) -> None:
    """As before the migration, with messages; it is held in the middle of a partition that is sent to."""
    customer_id = make_customer()
    accept(customer_id, 50, reference="order")
    ask_nothing(
        "DROP INDEX sms_message_recipient, sms_message_reference, sms_callback_failed;"
        "CREATE INDEX sms_message_reference ON sms_message (customer_id, reference, id) WHERE reference <> '';"
    )
    try:
        with a_writer():
            migrated = thread.submit(apply, "sms", "0010_look_up_indexes")
            wait_for(build_is_held, "the build to come to today's partition")
            ask_nothing("SET lock_timeout = '1ms'")  # whoever waits for a lock fails
            try:
                accept(customer_id, 3)
                account_adjust(customer_id=customer_id, amount=-1, reason="spent")
            finally:
                ask_nothing("RESET lock_timeout")
            assert build_is_held()
            assert not migrated.done()
        migrated.result()
    finally:
        apply("sms", "0010_look_up_indexes")
    for name, columns in (("recipient", ["recipient", "id"]), ("reference", ["reference", "customer_id", "id"])):
        assert is_whole(Index("sms_message", f"sms_message_{name}", columns))
        assert indexing._columns(f"sms_message_{name}") == columns
    assert ask("SELECT to_regclass('sms_message_reference_before')") == [(None,)]
    assert ask("SELECT indisvalid FROM pg_index WHERE indexrelid = 'sms_callback_failed'::regclass") == [(True,)]


def test_a_database_that_has_the_indexes_is_left_as_it_is(transactional_db: None) -> None:
    """As by the first form of the migration before, which made them itself."""
    query = "SELECT relname, oid FROM pg_class WHERE relkind IN ('i', 'I') ORDER BY 1"
    before = ask(query)
    apply("balance", "0006_reference_index")
    apply("sms", "0010_look_up_indexes")
    apply("sms", "0015_send_at_index")
    assert ask(query) == before


def test_a_build_that_was_cut_short_is_done_again_with_partitions_made_meanwhile(thread: ThreadPoolExecutor) -> None:
    far = TODAY + dt.timedelta(days=700)
    with a_writer():
        built = thread.submit(index_build, INDEX)
        [(pid,)] = wait_for(build_is_held, "the build to come to today's partition")
        ask("SELECT pg_cancel_backend(%s)", pid)
        with pytest.raises(OperationalError, match="canceling"):
            built.result()
    assert ask("SELECT indisvalid FROM pg_index WHERE indexrelid = %s::regclass", f"{PARTITION}_operator") == [(False,)]
    before = indexed(INDEX.name)
    assert PARTITION not in before
    [made] = partitions.create(first=far, days=1, tables=["sms_message"])
    try:
        assert indexed(INDEX.name) == before | {made: True}
        thread.submit(index_build, INDEX).result()
        assert is_whole(INDEX)
    finally:
        ask_nothing(f"DROP TABLE {made}")


def test_a_second_run_changes_nothing(thread: ThreadPoolExecutor) -> None:
    index_build(INDEX)
    found = ask("SELECT inhrelid FROM pg_inherits WHERE inhparent = %s::regclass ORDER BY 1", INDEX.name)
    index_build(INDEX)
    assert ask("SELECT inhrelid FROM pg_inherits WHERE inhparent = %s::regclass ORDER BY 1", INDEX.name) == found
    assert is_whole(INDEX)


def test_it_waits_its_turn_among_the_maintenance_of_partitions(thread: ThreadPoolExecutor) -> None:
    with psycopg.connect(database_url(), autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        built = thread.submit(index_build, INDEX)
        wait_for(lambda: ask("SELECT to_regclass(%s) IS NOT NULL", INDEX.name)[0][0], "the index to be declared")
        assert indexed(INDEX.name) == {}
        assert not built.done()
    built.result()
    assert is_whole(INDEX)


def test_partitions_may_be_made_while_a_build_waits(thread: ThreadPoolExecutor) -> None:
    """Who makes them waits for the build, which waits for all that have a snapshot: not for each other."""
    far = TODAY + dt.timedelta(days=800)
    waits = threading.Event()

    def make() -> list[str]:
        waits.set()
        try:
            return partitions.create(first=far, days=1, tables=["sms_message"])
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as another:
        with a_writer():
            built = thread.submit(index_build, INDEX)
            wait_for(build_is_held, "the build to come to today's partition")
            creating: Future[list[str]] = another.submit(make)
            waits.wait()
            wait_for(
                lambda: ask(
                    "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%%advisory_lock%%' AND pid <> pg_backend_pid()"
                ),
                "the other to ask for its turn",
            )
        built.result()
        [made] = creating.result()
    try:
        assert is_whole(INDEX)
    finally:
        ask_nothing(f"DROP TABLE {made}")


def test_a_step_that_inserts_would_wait_behind_lets_go_and_comes_again(thread: ThreadPoolExecutor) -> None:
    """A reader of the table has not ended: dropping waits for it, and who sends waits behind who drops."""
    index_build(INDEX)
    with psycopg.connect(database_url()) as reading:
        reading.execute("SELECT FROM sms_message")
        dropped = thread.submit(indexing._briefly, indexing.sql.SQL(f"DROP INDEX {INDEX.name}"))
        wait_for(lambda: ask("SELECT 1 FROM pg_stat_activity WHERE query LIKE 'DROP INDEX%%'"), "the drop to begin")
        with psycopg.connect(database_url(), options="-c lock_timeout=60s") as sending:
            sending.execute(
                "INSERT INTO sms_message VALUES (%s, %s, '', '', '', '', 1, 1, '', '', now())",
                [ids.new_id(), ids.new_id()],
            )  # goes on though the reader does not end
            sending.rollback()
        assert not dropped.done()
    dropped.result()
    assert ask("SELECT to_regclass(%s)", INDEX.name) == [(None,)]
