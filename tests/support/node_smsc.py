"""An SMSC of other hands: the library `smpp` of node.js, fetched from npm and kept."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from apps.devservices import bound_process as bound_script
from apps.devservices.processes import ServiceError
from tests.support.jsmpp_server import DOWNLOAD_SECONDS, unused_port

SOURCE = Path(__file__).parent / "node_smpp"
_FILES = ("package.json", "package-lock.json", "smsc.js")


def unavailable() -> str | None:
    """Why it cannot run here, or None. Fetches the library if that was not done yet."""
    try:
        _folder()
    except ServiceError as error:
        return str(error)
    return None


def _folder() -> Path:
    """The folder with the library and our program."""
    digest = hashlib.sha256(b"".join((SOURCE / name).read_bytes() for name in _FILES)).hexdigest()[:8]
    cache = Path(os.environ.get("DEVSERVICES_CACHE") or Path.home() / ".cache" / "smsgateway")
    ready = cache / f"node-smpp-{digest}"
    if ready.exists():
        return ready
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise ServiceError("node-smpp: node and npm are not on the PATH.")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        draft = Path(scratch) / "smsc"
        draft.mkdir()
        for name in _FILES:
            shutil.copy(SOURCE / name, draft)
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        try:
            done = subprocess.run(
                command, cwd=draft, capture_output=True, text=True, check=False, timeout=DOWNLOAD_SECONDS
            )
        except subprocess.TimeoutExpired:
            raise ServiceError("node-smpp: npm took too long.") from None
        if done.returncode:
            raise ServiceError(f"node-smpp: npm failed: {(done.stdout + done.stderr).strip()[-300:]}")
        with contextlib.suppress(OSError):  # another process was faster
            draft.rename(ready)
    return ready


@asynccontextmanager
async def node_smsc() -> AsyncIterator[int]:
    """The port of a running SMSC."""
    node = shutil.which("node")
    assert node is not None
    port = unused_port()
    bound = [sys.executable, bound_script.__file__, str(os.getpid())]  # it ends with us, however we end
    process = await asyncio.create_subprocess_exec(
        *bound, node, str(_folder() / "smsc.js"), str(port), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"listening\n"
        yield port
    finally:
        process.kill()
        await process.wait()
