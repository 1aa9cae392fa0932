"""The pools' threads: requests that compute for long leave the processor to the event loop."""

from __future__ import annotations

import os
import queue
import sys
import threading

import pytest

from smsgateway.http.pools import ADMIN, EXPORTS, HEALTH, READS, WRITES, Pool, Pools


def priority_in(pool: Pool) -> int:
    """The nice value of a thread of the pool, above that of this thread."""
    found: queue.Queue[int] = queue.Queue()
    pool.submit(lambda: found.put(os.getpriority(os.PRIO_PROCESS, threading.get_native_id())))
    return found.get() - os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


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
