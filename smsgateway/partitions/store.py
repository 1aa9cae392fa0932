"""The store of archives: a folder, or an S3 bucket."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final

import pyarrow as pa
from pyarrow import fs

_PIECE: Final = 4 * 1024 * 1024


class StoreError(OSError):
    """The archive's folder or bucket does not work"""


class Store:
    """Files by name, such as `sms_message/sms_message_20260101.1.parquet`. Methods raise OSError."""

    def __init__(self, place: str) -> None:
        """`place` is a folder, or `s3://BUCKET/FOLDER?region=…`. Raises StoreError."""
        try:
            if place.startswith("s3://"):
                self._files, self._root = fs.FileSystem.from_uri(place)
            else:
                self._files, self._root = fs.LocalFileSystem(), place.rstrip("/")
        except (pa.ArrowException, OSError, ValueError) as error:
            raise StoreError(f"PARTITION_ARCHIVE cannot be used: {error}") from error
        self._is_local = isinstance(self._files, fs.LocalFileSystem)

    def check(self) -> None:
        """Check that a file can be written, read and deleted. Raises StoreError."""
        try:
            self.write("probe", b"probe")
            if self.read("probe") != b"probe":
                raise StoreError("The archive returned other content than was written.")
            self.delete("probe")
        except OSError as error:
            raise StoreError(f"The archive cannot be written: {error}") from error

    def sink(self, name: str) -> pa.NativeFile:
        """Open the file for writing, empty."""
        path = self._path(name)
        if self._is_local:
            self._files.create_dir(str(Path(path).parent), recursive=True)
        return self._files.open_output_stream(path)

    def source(self, name: str) -> pa.NativeFile:
        """Open the file for reading, with seek."""
        return self._files.open_input_file(self._path(name))

    def settle(self, name: str) -> None:
        """Flush a closed file to disk, so that it survives a crash of the machine. A bucket needs no flush."""
        if not self._is_local:
            return
        path = Path(self._path(name))
        for place in (path, path.parent, self._root):
            descriptor = os.open(place, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def write(self, name: str, content: bytes) -> None:
        """Write a small file; it is on disk when this returns."""
        with self.sink(name) as sink:
            sink.write(content)
        self.settle(name)

    def read(self, name: str) -> bytes:
        """Read a small file."""
        with self.source(name) as source:
            return bytes(source.read())

    def delete(self, name: str) -> None:
        """Delete the file if it exists."""
        if self._files.get_file_info(self._path(name)).type == fs.FileType.File:
            self._files.delete_file(self._path(name))

    def digest(self, name: str) -> tuple[str, int]:
        """The SHA-256 of the stored file, and its size in bytes."""
        found = hashlib.sha256()
        size = 0
        with self.source(name) as source:
            while piece := source.read(_PIECE):
                found.update(piece)
                size += len(piece)
        return found.hexdigest(), size

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"
