"""An SMSC of other hands: the example server of org.jsmpp, fetched from Maven Central and kept."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from apps.devservices import bound_process as bound_script
from apps.devservices.kafka_apache import find_java
from apps.devservices.processes import ServiceError

SOURCE = Path(__file__).parent / "jsmpp"
SERVER = "MoodySmsc"
DOWNLOAD_SECONDS = 300


def unavailable() -> str | None:
    """Why it cannot run here, or None. Fetches and compiles it if that was not done yet."""
    try:
        find_java()
        _classpath()
    except ServiceError as error:
        return str(error)
    return None


def _classpath() -> Path:
    """The folder with the jars and our class."""
    files = [SOURCE / "pom.xml", SOURCE / f"{SERVER}.java"]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:8]
    cache = Path(os.environ.get("DEVSERVICES_CACHE") or Path.home() / ".cache" / "smsgateway")
    ready = cache / f"jsmpp-{digest}"
    if ready.exists():
        return ready
    maven = shutil.which("mvn")
    if maven is None:
        raise ServiceError("jsmpp: Maven, which fetches its jars, is not on the PATH.")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        draft = Path(scratch) / "jsmpp"
        goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={draft}"]
        _run([maven, "--batch-mode", "--no-transfer-progress", "--quiet", "--file", str(SOURCE / "pom.xml"), *goal])
        [compiler] = draft.glob("ecj-*.jar")
        path = ":".join(map(str, draft.glob("*.jar")))
        source = SOURCE / f"{SERVER}.java"
        _run([find_java(), "-jar", str(compiler), "-17", "-cp", path, "-d", str(draft), str(source)])
        with contextlib.suppress(OSError):  # another process was faster
            draft.rename(ready)
    return ready


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DOWNLOAD_SECONDS)
    except subprocess.TimeoutExpired:
        raise ServiceError(f"jsmpp: {command[0]} took too long.") from None
    if done.returncode:
        raise ServiceError(f"jsmpp: {command[0]} failed: {(done.stdout + done.stderr).strip()[-300:]}")


def unused_port() -> int:
    """Below those that the system gives to connections: one that tries again and again to reach a server that is not up
    yet could get that server's port as its own, and be connected with itself."""
    while True:
        port = random.randrange(20_000, 32_000)  # no secret
        with contextlib.suppress(OSError), socket.socket() as bound:
            bound.bind(("127.0.0.1", port))
            return port


class JsmppServer:
    """One port, on which the server may be ended and started again."""

    def __init__(self) -> None:
        self.port = unused_port()
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        folder = _classpath()
        bound = [sys.executable, bound_script.__file__, str(os.getpid())]  # it ends with us, however we end
        java = [*bound, find_java(), "-Xmx64m", "-cp", f"{folder}:{folder}/*", SERVER, str(self.port)]
        self._process = await asyncio.create_subprocess_exec(
            *java, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )

    async def kill(self) -> None:
        """End it without a goodbye."""
        if self._process:
            if self._process.returncode is None:
                self._process.kill()
            await self._process.wait()
            self._process = None


@asynccontextmanager
async def jsmpp_server() -> AsyncIterator[JsmppServer]:
    server = JsmppServer()
    await server.start()
    try:
        yield server
    finally:
        await server.kill()
