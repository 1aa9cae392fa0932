"""`python bound.py PARENT COMMAND…`: become COMMAND, which the kernel kills as soon as the process PARENT is gone.

A script of its own: the usual way (`preexec_fn`) runs Python in a forked copy of a process that may have threads.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h; it stays across exec, and is not handed on to children


def main(parent: int, command: list[str]) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before we asked
        sys.exit(1)
    os.execv(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
