"""An SMSC that accepts every submit at once, in a process of its own: for SMPP benchmarks."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from apps.sms.operators.smpp import pdu


class Sink(NamedTuple):
    """Its port, its process id, and the number of accepted submits."""

    port: int
    pid: int
    counter: Any

    @property
    def taken(self) -> int:
        return int(self.counter.value)


@contextmanager
def running() -> Iterator[Sink]:
    """Run it while the block runs. It also ends with this process."""
    ready, child_end = multiprocessing.Pipe()
    counter = multiprocessing.Value("q", 0)
    child = multiprocessing.Process(target=_serve, args=(child_end, counter), daemon=True)
    child.start()
    try:
        yield Sink(ready.recv(), int(child.pid or 0), counter)
    finally:
        child.terminate()
        child.join()


def _serve(ready: Connection, counter: Any) -> None:
    class Smsc(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport: asyncio.Transport = transport  # type: ignore[assignment]
            self.received = bytearray()

        def data_received(self, data: bytes) -> None:
            self.received += data
            answers = []
            for one in pdu.frames(self.received):
                # Every message gets its own id, as at a real operator.
                text = f"{counter.value:010d}" if one.command == pdu.SUBMIT_SM else ""
                answers.append(pdu.response(one, 0, text))
                counter.value += one.command == pdu.SUBMIT_SM
            self.transport.write(b"".join(answers))

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Smsc, "127.0.0.1", 0)
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())
