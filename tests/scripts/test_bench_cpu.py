"""CPU seconds of processes that come and go."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from scripts import bench_cpu


def times(seconds: float, *, of_ended: float = 0.0) -> Any:
    return SimpleNamespace(user=seconds, system=0.0, children_user=of_ended, children_system=0.0)


class Parent:
    """Has two children, one of which ends after it was listed: the parent has its time then."""

    def __init__(self) -> None:
        self.is_alive = True
        self._of_ended = 0.0
        self._children = [SimpleNamespace(cpu_times=lambda: times(2.0)), SimpleNamespace(cpu_times=self._end)]

    def _end(self) -> Any:
        self._children.pop()
        self._of_ended = 4.0
        raise psutil.NoSuchProcess(1)

    def cpu_times(self) -> Any:
        if not self.is_alive:
            raise psutil.NoSuchProcess(1)
        return times(1.0, of_ended=self._of_ended)

    def children(self, *, recursive: bool) -> list[Any]:
        return self._children.copy()

    def is_running(self) -> bool:
        return self.is_alive


def test_a_child_that_ends_meanwhile_counts_once() -> None:
    assert bench_cpu.seconds(Parent()) == 1.0 + 2.0 + 4.0  # type: ignore[arg-type]


def test_a_process_that_ended_itself_is_an_error() -> None:
    parent = Parent()
    parent.is_alive = False
    with pytest.raises(psutil.NoSuchProcess):
        bench_cpu.seconds(parent)  # type: ignore[arg-type]
