"""The interface of every development service."""

from __future__ import annotations

import abc
from pathlib import Path
from typing import ClassVar


class Service(abc.ABC):
    """One service of the stack in `directory`; all its files are in `data` and beside it."""

    name: ClassVar[str]
    variable: ClassVar[str]
    """The environment variable that holds the service's address."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    def data(self) -> Path:
        return self.directory / self.name

    @property
    def log(self) -> Path:
        return self.directory / f"{self.name}.log"

    @abc.abstractmethod
    def version(self) -> str:
        """What it is and its version, such as `PostgreSQL 18.4`."""

    @abc.abstractmethod
    def address(self) -> str | None:
        """The address if the process runs and answers; otherwise None."""

    @abc.abstractmethod
    def start(self) -> str:
        """Start it unless it runs; return its address once it answers. Raises ServiceError if it does not start."""

    @abc.abstractmethod
    def stop(self) -> None:
        """Stop it cleanly, if it runs."""
