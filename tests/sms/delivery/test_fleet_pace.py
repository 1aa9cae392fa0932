"""Four workers keep every customer's pace, also while one is killed and its partitions move."""

from __future__ import annotations

import random
import signal
from collections import defaultdict

import pytest

from tests.support.delivery import PARTITIONS, config_of_its_own, produce, requested, wait_until
from tests.support.worker_processes import CountingOperator, worker

WORKERS = 4
CUSTOMERS = 12
PACE = 20
SECONDS = 14  # of backlog at the pace
WINDOW = 10.0
LONGEST = 3
# A submit may come later than it was let go, and the window then holds those before it too: a second's worth covers a
# busy machine; without the shared bucket four workers would send many times as much.
SLACK = PACE


@pytest.mark.kills
def test_no_window_of_ten_seconds_holds_more_than_the_pace_and_the_burst() -> None:
    config = config_of_its_own()
    rng = random.Random(7)
    segments: dict[str, tuple[str, int]] = {}
    work = []
    for number in range(CUSTOMERS * PACE * SECONDS // 2):
        customer = number % CUSTOMERS
        message = requested(
            operator="mci", customer_id=f"C{customer}", segments=rng.randint(1, LONGEST), segments_per_second=PACE
        )
        segments[message.message_id] = (message.customer_id, message.segments)
        work.append((customer % PARTITIONS, message))
    operator = CountingOperator()
    with operator.listening() as url:
        workers = [worker(config, url) for _ in range(WORKERS)]
        try:
            produce(config, work)
            wait_until(lambda: len(operator.taken) > len(work) / 3)
            workers[0].send_signal(signal.SIGKILL)
            wait_until(lambda: len(operator.taken) == len(work))
            for each in workers[1:]:
                each.terminate()
            assert [each.wait(60) for each in workers[1:]] == [0] * (WORKERS - 1)
        finally:
            for each in workers:
                each.kill()
                each.wait()
    sent = defaultdict(list)
    for at, reference in operator.times:
        customer_id, count = segments[reference]
        sent[customer_id].append((at, count))
    for times in sent.values():
        for start, _ in times:
            inside = sum(count for at, count in times if start <= at < start + WINDOW)
            assert inside <= PACE * WINDOW + PACE + LONGEST + SLACK
