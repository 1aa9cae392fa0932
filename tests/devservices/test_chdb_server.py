"""clickhouse-driver against chDB: what the application will do with a ClickHouse server."""

from __future__ import annotations

import datetime as dt
import decimal
import threading
import uuid
from typing import Any

import pytest
from clickhouse_driver import Client, dbapi
from clickhouse_driver.errors import Error as DriverError
from clickhouse_driver.errors import ErrorCodes, ServerException

VIOLATED_CONSTRAINT = 469
AUTHENTICATION_FAILED = 516
NOW = dt.datetime(2026, 11, 24, 3, 4, 5, 678000, tzinfo=dt.UTC)

COLUMNS: list[tuple[str, list[Any]]] = [
    ("UUID", [uuid.UUID(int=1), uuid.UUID(int=2**128 - 1)]),
    ("String", ["", "سلام" * 100]),
    ("LowCardinality(String)", ["delivered", "failed"]),
    ("LowCardinality(Nullable(String))", [None, "failed"]),
    ("DateTime64(3, 'UTC')", [NOW, NOW.replace(year=1971)]),
    ("Date", [dt.date(2026, 1, 1), dt.date(1999, 12, 31)]),
    ("UInt8", [0, 2**8 - 1]),
    ("UInt16", [0, 2**16 - 1]),
    ("UInt32", [0, 2**32 - 1]),
    ("UInt64", [0, 2**64 - 1]),
    ("Int64", [-(2**63), 2**63 - 1]),
    ("Float64", [-0.5, 1e300]),
    ("Bool", [True, False]),
    ("Nullable(String)", [None, "x"]),
    ("Nullable(UInt32)", [None, 9]),
    ("FixedString(4)", ["abcd", "wxyz"]),
    ("Array(String)", [[], ["a", "", "ب"]]),
    ("Array(LowCardinality(String))", [["a", "a"], []]),
    ("Array(Nullable(Int32))", [[None, 1], []]),
    ("Array(Array(String))", [[["x"], []], [["y", "z"]]]),
    ("Map(String, UInt64)", [{"a": 1}, {}]),
    ("Tuple(code UInt8, text String)", [(1, "one"), (2, "two")]),
    ("Decimal(9, 2)", [decimal.Decimal("-1.25"), decimal.Decimal("9999999.99")]),
    ("Decimal(18, 4)", [decimal.Decimal("0.0001"), decimal.Decimal("-7.5")]),
    ("Decimal(38, 0)", [decimal.Decimal(10**30), decimal.Decimal(-1)]),
    ("Enum8('a' = 1, 'b,(' = 2)", ["a", "b,("]),
]


@pytest.fixture
def table(client: Client) -> str:
    client.execute("CREATE TABLE t (n UInt64, s String) ENGINE = MergeTree ORDER BY n")
    return "t"


@pytest.mark.parametrize(("kind", "values"), COLUMNS, ids=[kind for kind, _ in COLUMNS])
def test_values_of_a_type_come_back_as_they_went(client: Client, kind: str, values: list[Any]) -> None:
    client.execute(f"CREATE TABLE t (n UInt8, v {kind}) ENGINE = MergeTree ORDER BY n")
    client.execute("INSERT INTO t (n, v) VALUES", list(enumerate(values)))
    client.execute("INSERT INTO t (v, n) VALUES", [values, [7, 8]], columnar=True)
    rows, described = client.execute("SELECT v FROM t ORDER BY n", with_column_types=True)
    assert [value for (value,) in rows] == values * 2
    assert described == [("v", kind)]


def test_columns_of_all_types_stand_beside_each_other_in_one_block(client: Client) -> None:
    names = [f"c{number}" for number in range(len(COLUMNS))]
    described = ", ".join(f"{name} {kind}" for name, (kind, _) in zip(names, COLUMNS, strict=True))
    client.execute(f"CREATE TABLE t ({described}) ENGINE = MergeTree ORDER BY tuple()")
    columns = [values for _, values in COLUMNS]
    assert client.execute("INSERT INTO t VALUES", columns, columnar=True) == 2
    assert client.execute("SELECT * FROM t", columnar=True) == [tuple(values) for values in columns]


def test_an_empty_result_has_its_columns(client: Client) -> None:
    expected: tuple[list[Any], list[tuple[str, str]]] = ([], [("a", "UInt8"), ("b", "LowCardinality(String)")])
    query = "SELECT 1 AS a, toLowCardinality('x') AS b WHERE 0; "
    assert client.execute(query, with_column_types=True) == expected


def test_a_large_result_comes_in_blocks(client: Client) -> None:
    blocks: list[int] = []
    query = "SELECT number, toString(number) FROM numbers(200000)"
    for block in client.execute_iter(query, chunk_size=1000, settings={"max_block_size": 10_000}):
        blocks.append(len(block))
    assert sum(blocks) == 200_000
    assert len(blocks) >= 20
    assert client.execute("SELECT sum(number) FROM numbers(1000000)") == [(499_999_500_000,)]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("SELECT missing", ErrorCodes.UNKNOWN_IDENTIFIER),
        ("SELECT * FROM missing", ErrorCodes.UNKNOWN_TABLE),
        ("SELEC 1", ErrorCodes.SYNTAX_ERROR),
        ("SELECT throwIf(number = 900000) FROM numbers(1000000)", 395),
        ("DROP TABLE missing", ErrorCodes.UNKNOWN_TABLE),
    ],
)
def test_a_failure_carries_clickhouses_code_and_leaves_the_connection_usable(
    client: Client, query: str, code: int
) -> None:
    with pytest.raises(ServerException) as failure:
        client.execute(query)
    assert failure.value.code == code
    assert "Code:" not in failure.value.message.splitlines()[0]
    assert client.execute("SELECT 1") == [(1,)]


def test_an_insert_that_is_refused_carries_its_code_and_writes_nothing(client: Client) -> None:
    client.execute("CREATE TABLE t (n Int64, CONSTRAINT positive CHECK n > 0) ENGINE = MergeTree ORDER BY n")
    with pytest.raises(ServerException) as failure:
        client.execute("INSERT INTO t VALUES", [(1,), (-1,)])
    assert failure.value.code == VIOLATED_CONSTRAINT
    assert client.execute("SELECT count() FROM t") == [(0,)]
    with pytest.raises(ServerException) as failure:
        client.execute("INSERT INTO missing VALUES", [(1,)])
    assert failure.value.code == ErrorCodes.UNKNOWN_TABLE


def test_an_insert_that_a_view_refuses_fails(client: Client) -> None:
    client.execute("CREATE TABLE t (n Int64) ENGINE = MergeTree ORDER BY n")
    client.execute(
        "CREATE MATERIALIZED VIEW v ENGINE = MergeTree ORDER BY tuple() AS SELECT throwIf(n = 7) AS x FROM t"
    )
    with pytest.raises(ServerException) as failure:
        client.execute("INSERT INTO t VALUES", [(7,)])
    assert failure.value.code == 395
    assert client.execute("SELECT count() FROM v") == [(0,)]


def test_an_insert_of_nothing_writes_nothing(client: Client, table: str) -> None:
    client.execute(f"INSERT INTO {table} (n, s) VALUES", [])
    assert client.execute(f"SELECT count() FROM {table}") == [(0,)]


def test_an_insert_may_carry_its_settings_in_the_query(client: Client) -> None:
    client.execute(
        "CREATE TABLE t (n UInt64, s String) ENGINE = MergeTree ORDER BY n "
        "SETTINGS non_replicated_deduplication_window = 9"
    )
    for number in (1, 2):
        client.execute("INSERT INTO test.t (`n`) SETTINGS insert_deduplication_token = 'x' VALUES", [(number,)])
    assert client.execute("SELECT * FROM t") == [(1, "")]


def test_an_insert_of_several_blocks_larger_than_the_servers_buffer_arrives_whole(client: Client, table: str) -> None:
    count = 60_000
    rows = ((number, f"{number:064}") for number in range(count))
    settings = {"insert_block_size": 7_000}
    assert client.execute(f"INSERT INTO {table} (n, s) VALUES", rows, settings=settings) == count
    query = f"SELECT count(), sum(n), sum(toUInt64(s)) FROM {table}"
    total = count * (count - 1) // 2
    assert client.execute(query) == [(count, total, total)]


def test_one_string_longer_than_the_servers_buffer_arrives_whole(client: Client, table: str) -> None:
    text = "x" * 3_000_000
    client.execute(f"INSERT INTO {table} VALUES", [(1, text), (2, "")])
    assert client.execute(f"SELECT s FROM {table} ORDER BY n") == [(text,), ("",)]


def test_values_in_the_query_and_insert_select_need_no_data_of_the_client(client: Client, table: str) -> None:
    client.execute(f"INSERT INTO {table} (n, s) VALUES (1, 'a'), (2, 'b')")
    client.execute(f"INSERT INTO {table} (n, s) SELECT n + 10, s FROM {table}")
    assert client.execute(f"SELECT n FROM {table} ORDER BY n") == [(1,), (2,), (11,), (12,)]


def test_an_insert_with_a_token_seen_before_adds_nothing(client: Client) -> None:
    client.execute(
        "CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 100"
    )
    for token in ("one", "one", "two"):
        client.execute("INSERT INTO t VALUES", [(1,), (2,)], settings={"insert_deduplication_token": token})
    assert client.execute("SELECT count() FROM t") == [(4,)]


def test_a_setting_holds_for_its_query_only(client: Client) -> None:
    query = "SELECT getSetting('max_block_size')"
    (default,) = client.execute(query)
    assert client.execute(query, settings={"max_block_size": 77}) == [(77,)]
    assert client.execute(query) == [default]
    with pytest.raises(ServerException) as failure:
        client.execute("SELECT 1", settings={"no_such_setting": 1})
    assert failure.value.code == ErrorCodes.UNKNOWN_SETTING


def test_a_query_ends_at_its_time_limit(client: Client) -> None:
    query = "SELECT sum(sipHash64(number)) FROM numbers(100000000000)"
    with pytest.raises(ServerException) as failure:
        client.execute(query, settings={"max_execution_time": 1})
    assert failure.value.code == ErrorCodes.TIMEOUT_EXCEEDED


def test_a_canceled_query_leaves_the_connection_usable(client: Client) -> None:
    assert next(client.execute_iter("SELECT number FROM system.numbers")) == (0,)
    client.cancel()  # reads what was sent already, up to the answer's end
    assert client.execute("SELECT 1") == [(1,)]


def test_a_client_that_leaves_within_an_answer_disturbs_nobody(client: Client, clickhouse_url: str) -> None:
    with Client.from_url(clickhouse_url) as leaver:
        assert next(leaver.execute_iter("SELECT number FROM system.numbers")) == (0,)
    processes = "SELECT count() FROM system.processes WHERE query LIKE '%FROM system.numbers'"
    for _ in range(1000):
        if client.execute(processes) == [(0,)]:
            break
    else:
        pytest.fail("the query of the client that left still runs")


def test_a_client_that_leaves_within_an_insert_writes_nothing(client: Client, clickhouse_url: str) -> None:
    client.execute("CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n")

    def rows() -> Any:
        yield from ((number,) for number in range(1000))
        raise RuntimeError("the client fails")

    with Client.from_url(clickhouse_url) as leaver, pytest.raises(RuntimeError, match="the client fails"):
        leaver.execute("INSERT INTO test.t VALUES", rows(), settings={"insert_block_size": 100})
    assert client.execute("SELECT count() FROM t") == [(0,)]


def test_clients_work_side_by_side_each_with_its_own_database(client: Client, clickhouse_url: str, table: str) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            with Client.from_url(clickhouse_url.replace("/smsgateway", "/test")) as own:
                for turn in range(20):
                    own.execute(f"INSERT INTO {table} VALUES", [(number * 1000 + turn, "x")])
                    assert own.execute("SELECT currentDatabase()") == [("test",)]
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert client.execute(f"SELECT count(), uniqExact(n) FROM {table}") == [(120, 120)]


def test_a_long_query_does_not_hold_up_another_client(client: Client, clickhouse_url: str) -> None:
    ended = threading.Event()

    def long_query() -> None:
        with Client.from_url(clickhouse_url) as other, pytest.raises(ServerException):
            other.execute(
                "SELECT sum(sipHash64(number)) FROM numbers(100000000000)",
                settings={"max_execution_time": 2, "max_threads": 1},
            )
        ended.set()

    thread = threading.Thread(target=long_query)
    thread.start()
    running = "SELECT count() FROM system.processes WHERE query LIKE '%sipHash64(number)%' AND query NOT LIKE '%LIKE%'"
    seen = 0
    while not seen and not ended.is_set():
        ((seen,),) = client.execute(running)
    thread.join()
    assert seen == 1


def test_the_dbapi_returns_names_and_types_of_the_columns(clickhouse_url: str) -> None:
    with dbapi.connect(clickhouse_url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT number AS n, 'a' AS s FROM numbers(5) WHERE number > %(least)s", {"least": 2})
        assert [(column.name, column.type_code) for column in cursor.description] == [("n", "UInt64"), ("s", "String")]
        assert cursor.fetchall() == [(3, "a"), (4, "a")]


def test_statements_that_cannot_be_streamed_answer_too(client: Client, table: str) -> None:
    assert client.execute("SHOW TABLES") == [(table,)]
    assert client.execute("EXISTS TABLE missing") == [(0,)]
    assert client.execute(f"DESCRIBE TABLE {table}", with_column_types=True)[0][0][:2] == ("n", "UInt64")
    assert client.execute("ALTER TABLE t ADD COLUMN extra UInt8") == []


def test_an_unknown_database_and_a_wrong_password_are_refused(clickhouse_url: str) -> None:
    with (
        Client.from_url(clickhouse_url.replace("/smsgateway", "/missing")) as client,
        pytest.raises(ServerException) as failure,
    ):
        client.execute("SELECT 1")
    assert failure.value.code == ErrorCodes.UNKNOWN_DATABASE
    with (
        Client.from_url(clickhouse_url.replace("default@", "default:wrong@")) as client,
        pytest.raises(ServerException) as failure,
    ):
        client.execute("SELECT 1")
    assert failure.value.code == AUTHENTICATION_FAILED


def test_a_type_of_unknown_length_is_refused_clearly(client: Client) -> None:
    client.execute("SET allow_experimental_json_type = 1")
    client.execute("CREATE TABLE t (v JSON) ENGINE = MergeTree ORDER BY tuple()")
    with pytest.raises(DriverError):
        client.execute("INSERT INTO t VALUES", [({"a": 1},)])
    client.disconnect()
    assert client.execute("SELECT 1") == [(1,)]
