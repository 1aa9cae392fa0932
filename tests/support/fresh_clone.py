"""What a newcomer has: a fresh clone with everything running, and a shell in it that knows nothing of these tests."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import environ
import pytest

from apps.devservices.ports import remembered_ports
from apps.devservices.processes import read_text
from tests.support.pages import shell_blocks
from tests.support.tools import ROOT
from tests.support.waiting import wait_for

ENVIRON: Final = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "JAVA_HOME") if name in os.environ}
DOCS: Final = ROOT / "docs"


class Clone:
    """The folder; `customer`: the id that `make up` printed; `api`: where the API answers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.customer = self.api = ""

    @property
    def services(self) -> dict[str, str]:
        """The addresses of PostgreSQL, Kafka and ClickHouse, as manage.py finds them."""
        found = environ.Env()
        found.ENVIRON = {}
        for line in (self.folder / ".devservices" / "env").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition("=")
            found.ENVIRON[name] = value.strip("'\"")
        return dict(found.ENVIRON)

    def run(self, script: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run it in a new shell in the folder, after what docs/README.md says of a checkout."""
        (activate,) = shell_blocks(DOCS / "README.md")
        command = ["bash", "-euo", "pipefail", "-c", f"{activate}\n{script}"]
        return subprocess.run(command, cwd=self.folder, env=ENVIRON | variables, capture_output=True, text=True)

    def follow(self, page: str, **variables: str) -> str:
        """Run the page's blocks in one shell, with these variables in place of its lines that set them; the output."""
        variables = {"API": self.api, **variables}
        blocks = [
            re.sub(rf"^({'|'.join(variables)})=.*$", "", block, flags=re.MULTILINE)
            for block in shell_blocks(DOCS / page)
            if not block.startswith("make up")
        ]
        assert blocks
        done = self.run("\n".join(blocks), **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@contextmanager
def running_clone() -> Iterator[Clone]:
    """A clone in which the quickstart's first block runs; its end stops it and leaves nothing."""
    folder = Path(tempfile.mkdtemp(prefix="clone-"))
    folder.chmod(0o755)  # PostgreSQL may run as another user
    try:
        _copy(folder)
        _link_environment(folder / ".venv")
        clone = Clone(folder)
        ports = remembered_ports(folder / "ports", count=3)
        (command, *_) = shell_blocks(DOCS / "tutorial" / "quickstart.md")
        with (folder / "up.log").open("wb") as log:
            process = subprocess.Popen(
                ["sh", "-ec", command], cwd=folder, env=ENVIRON | {"UP_PORTS": ",".join(map(str, ports))},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        try:

            def printed() -> re.Match[str] | None:
                told = (folder / "up.log").read_text(encoding="utf-8", errors="replace")
                assert process.poll() is None, told
                return re.search(r'curl (http://\S+)/v1/sms/send.*?"customer_id": "(\w+)"', told, re.DOTALL)

            clone.api, clone.customer = wait_for(printed, "make up to print a curl").groups()
            yield clone
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()
            wait_for(lambda: not _exists(process.pid), "everything to end")
    finally:
        # A folder closed to others is no place for PostgreSQL, for root: then its data lies elsewhere.
        if location := read_text(folder / ".devservices" / "postgres.location"):
            shutil.rmtree(location, ignore_errors=True)
        shutil.rmtree(folder)


def _copy(folder: Path) -> None:
    """What a clone would have if all of this checkout were committed."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True
    )
    if listed.returncode:
        pytest.skip("this is no git checkout")
    for name in listed.stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def _link_environment(folder: Path) -> None:
    """The environment that runs these tests, as if `make` had just made it there: nothing is installed again."""
    folder.mkdir()
    for path in Path(sys.prefix).iterdir():
        if not path.name.startswith("."):
            (folder / path.name).symlink_to(path)
    (folder / ".installed").touch()


def _exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
