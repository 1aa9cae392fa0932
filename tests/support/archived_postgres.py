"""A PostgreSQL of its own that archives its WAL, is backed up, and restored to a point in time."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import psycopg

from apps.devservices.postgres import Postgres
from tests.support.tools import ROOT
from tests.support.waiting import wait_for

# The wheel's own pg_verifybackup crashes, even with --help.
_VERIFY: Final = """#!{python}
import hashlib, json, pathlib, sys
folder = pathlib.Path(sys.argv[-1])
for file in json.loads((folder / "backup_manifest").read_text())["Files"]:
    found = hashlib.sha256((folder / file["Path"]).read_bytes()).hexdigest()
    if found != file["Checksum"]:
        sys.exit(f"{{file['Path']}} is not what was backed up")
"""


class ArchivedPostgres:
    """The server in `directory`. `archive`: the folder of backups and WAL."""

    def __init__(self, directory: Path, archive: Path) -> None:
        self.service = Postgres(directory)
        self.archive = archive
        self.url = ""

    def start(self) -> None:
        """Start it with WAL archiving, as docs/howto/backup-and-recovery.md sets it."""
        self.url = self.service.start()
        wal = self.archive / "wal"
        wal.mkdir(parents=True, exist_ok=True)
        self._give(self.archive)
        for name, value in {
            "archive_mode": "on",
            "archive_command": f"test ! -f {wal}/%f && cp %p {wal}/%f.part && mv {wal}/%f.part {wal}/%f",
            "archive_timeout": "60s",
        }.items():
            self.execute(f"ALTER SYSTEM SET {name} = {psycopg.sql.quote(value)}")
        self.service.stop()
        self.url = self.service.start()

    def stop(self) -> None:
        self.service.stop()

    def back_up(self, **environ: str) -> str:
        """Run the script of the page; what it printed."""
        found = self._connection()
        own = {
            "PATH": f"{self._tools}:{self._binaries}:{os.environ['PATH']}",
            "PGHOST": found["host"],
            "PGUSER": found["user"],
            **environ,
        }
        command = [str(ROOT / "scripts" / "backup_postgres.sh"), str(self.archive)]
        done = subprocess.run(command, env=os.environ | own, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def archive_everything(self) -> None:
        """Return when the WAL up to now is in the archive."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            [name] = connection.execute("SELECT pg_walfile_name(pg_switch_wal())").fetchone() or [""]
            wait_for(lambda: (self.archive / "wal" / name).exists(), "the WAL to be archived")

    def restored(self, directory: Path, *, to: str) -> ArchivedPostgres:
        """Another server, restored from the newest backup to this time (ISO 8601), in `directory`."""
        new = ArchivedPostgres(directory, self.archive)
        data = new.service.data
        data.parent.mkdir(parents=True, exist_ok=True)
        newest = max((self.archive / "base").iterdir())
        shutil.copytree(newest, data, symlinks=True)
        (data / "recovery.signal").touch()
        with (data / "postgresql.auto.conf").open("a") as file:
            file.write(f"restore_command = 'cp {self.archive}/wal/%f %p'\n")
            file.write(f"recovery_target_time = '{to}'\nrecovery_target_action = 'promote'\narchive_mode = 'off'\n")
        data.chmod(0o700)
        new._give(data)
        new.url = new.service.start()
        wait_for(lambda: new.execute("SELECT NOT pg_is_in_recovery()")[0][0], "the recovery of PostgreSQL to end")
        return new

    def execute(self, statement: str) -> list[Any]:
        """Run one statement; its rows."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    @property
    def _binaries(self) -> Path:
        return self.service._layout.binaries

    @property
    def _tools(self) -> Path:
        folder = self.archive.parent / "tools"
        folder.mkdir(exist_ok=True)
        (folder / "pg_verifybackup").write_text(_VERIFY.format(python=sys.executable))
        (folder / "pg_verifybackup").chmod(0o755)
        return folder

    def _connection(self) -> dict[str, str]:
        return psycopg.conninfo.conninfo_to_dict(self.url)  # type: ignore[return-value]

    def _give(self, folder: Path) -> None:
        """To the account that runs the server."""
        user = self.service._layout.user
        if user is None:
            return
        for path in (folder, *folder.rglob("*")):
            os.chown(path, user.uid, user.gid)
