"""What a benchmark prints, and when it refuses its own figures."""

from __future__ import annotations

import pytest

from apps.devservices.processes import ServiceError
from scripts import bench_profile, bench_table
from scripts.bench_cases import Measured
from scripts.bench_check import Stored, require_stored


def measured(rate: float, p99: float = 10.0) -> Measured:
    return Measured(rate, p50_ms=5.0, p99_ms=p99, api_us=100.0, postgres_us=50.0, wal_bytes=800.0, generator_us=7.0)


def test_ratios_are_of_medians_and_of_each_pair() -> None:
    before = [measured(100), measured(200), measured(400)]
    after = [measured(300, 5.0), measured(500, 5.0), measured(600, 5.0)]
    of_medians, of_pairs = bench_table.ratios(before, after)
    assert of_medians[:4] == ["ratio of medians", "2.50", "1.00", "0.50"]
    assert of_pairs[:4] == ["ratio of each pair", "1.50 2.50 3.00", "1.00 1.00 1.00", "0.50 0.50 0.50"]
    assert bench_table.cells(bench_table.median(after)) == ["500", "5.0", "5.0", "100", "50", "800", "7"]


def test_columns_are_aligned() -> None:
    assert bench_table.table([["", "rate"], ["one", "1,000"]]) == "      rate\none  1,000\n"


def test_a_figure_that_was_not_measured_has_no_ratio() -> None:
    before = measured(100)._replace(postgres_us=0.0)
    of_medians, of_pairs = bench_table.ratios([before], [measured(100)])
    assert (of_medians[5], of_pairs[5]) == ("-", "-")


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (Stored(wrong_balances=0, unpaid=0, rows=1099), "1000 were answered with 200, but the database has 999"),
        (Stored(wrong_balances=0, unpaid=0, rows=1165), "1000 were answered with 200, but the database has 1065"),
        (Stored(wrong_balances=1, unpaid=0, rows=1100), "1 balances are not the sum"),
        (Stored(wrong_balances=0, unpaid=2, rows=1100), "2 messages were not paid once"),
    ],
)
def test_figures_count_only_if_the_database_holds_what_was_answered(found: Stored, reason: str) -> None:
    with pytest.raises(ServiceError, match=f"^abc, send: .*{reason}"):
        require_stored(found, answered=1000, unanswered=64, before=100, who="abc, send")


def test_requests_that_the_generator_broke_off_may_be_stored() -> None:
    for rows in (1100, 1164):
        require_stored(Stored(0, 0, rows), answered=1000, unanswered=64, before=100, who="abc, send")


def test_the_list_of_a_profile_adds_up_lines_of_a_function_and_counts_recursion_once() -> None:
    stacks = ["main (a.py:1);work (a.py:5) 6", "main (a.py:2);work (a.py:7);work (a.py:7) 3", "main (a.py:1) 1"]
    own, _, total = bench_profile._top(stacks, 5).partition("\n\n")
    assert [line.split() for line in own.splitlines()[1:]] == [
        ["work", "(a.py)", "90.0", "%"],
        ["main", "(a.py)", "10.0", "%"],
    ]
    assert [line.split() for line in total.splitlines()[1:]] == [
        ["main", "(a.py)", "100.0", "%"],
        ["work", "(a.py)", "90.0", "%"],
    ]
