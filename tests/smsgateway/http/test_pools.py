"""The pools' threads: requests that compute for long leave the processor to the event loop."""

from __future__ import annotations

import os
import queue
import sys
import threading

import pytest

from smsgateway.http.pools import ADMIN, EXPORTS, HEALTH, READS, WRITES, Pool, Pools
from tests.support.waiting import WAIT_SECONDS


def priority_in(pool: Pool) -> int:
    """The nice value of a thread of the pool, above that of this thread."""
    found: queue.Queue[int] = queue.Queue()
    pool.submit(lambda: found.put(os.getpriority(os.PRIO_PROCESS, threading.get_native_id())))
    return found.get(timeout=WAIT_SECONDS) - os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a priority for each thread")
def test_only_probes_have_the_priority_of_the_loop() -> None:
    pools = Pools(threads=1, exports=1)
    try:
        lowered = {
            pool.name: priority_in(pool) > 0
            for method, path in (
                ("GET", "/healthz"),
                ("GET", "/v1/sms"),
                ("POST", "/v1/sms/batch"),
                ("GET", "/v1/export"),
                ("GET", "/admin/"),
            )
            for pool in [pools.choose(method=method, path=path)]
        }
    finally:
        pools.stop()
    assert lowered == {HEALTH: False, READS: True, WRITES: True, EXPORTS: True, ADMIN: True}


def test_a_sandbox_that_forbids_it_does_not_stop_the_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_arguments: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", forbidden)
    pools = Pools(threads=1, exports=1)
    try:
        assert priority_in(pools.choose(method="POST", path="/v1/sms/batch")) == 0
    finally:
        pools.stop()
