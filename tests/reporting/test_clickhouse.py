from __future__ import annotations

import dataclasses
import threading

import pytest
from django.conf import settings

from smsgateway.clickhouse import ClickHouse, ClickHouseError, ClickHouseUnavailable


def test_parameters_are_values_and_never_sql(database: ClickHouse) -> None:
    text = "it's \\ %(x)s '; DROP TABLE sms_events; --"
    assert database.query("SELECT %(text)s", {"text": text}) == [(text,)]


def test_a_server_that_does_not_answer_is_unavailable(away: ClickHouse) -> None:
    with pytest.raises(ClickHouseUnavailable):
        away.query("SELECT 1")


def test_a_wrong_statement_is_an_error_of_its_own_and_the_next_one_works(database: ClickHouse) -> None:
    with pytest.raises(ClickHouseError) as caught:
        database.query("SELECT * FROM no_such_table")
    assert not isinstance(caught.value, ClickHouseUnavailable)
    assert "code 60" in str(caught.value)
    assert database.query("SELECT 1") == [(1,)]


def test_a_query_that_runs_too_long_is_ended_as_unavailable() -> None:
    impatient = ClickHouse(dataclasses.replace(settings.CONFIG.clickhouse, timeout=1))
    try:
        with pytest.raises(ClickHouseUnavailable, match="code 159"):
            impatient.query("SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) = 1")
    finally:
        impatient.close()


def test_threads_share_a_client_and_its_connections(database: ClickHouse) -> None:
    wrong: list[int] = []
    together = threading.Barrier(4)

    def ask(number: int) -> None:
        together.wait()
        for _ in range(20):
            if database.query("SELECT %(number)s", {"number": number}) != [(number,)]:
                wrong.append(number)

    threads = [threading.Thread(target=ask, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not wrong
