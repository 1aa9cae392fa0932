"""Runs calls on an event loop, as the API's server runs single sends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from smsgateway import event_loop


def on_loop(calls: Sequence[Callable[[], None]], *, then: Callable[[], None] = lambda: None) -> None:
    """Run the calls on an event loop until all have ended. `then`: called once all have begun."""

    async def run() -> None:
        ended = asyncio.Semaphore(0)

        def begin(call: Callable[[], None]) -> None:
            def to_the_end() -> None:
                try:
                    call()
                finally:
                    ended.release()

            event_loop.start(to_the_end)

        for call in calls:
            begin(call)
            await asyncio.sleep(0)  # the first one asks at once
        then()
        for _ in calls:
            await ended.acquire()

    asyncio.run(asyncio.wait_for(run(), 60))
