"""Work for other processes that is quick to import there."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.waiting import soon


def kill_at_seven(task: int) -> int:
    """The square of ``task``; the process that works on 7 is killed."""
    if task == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return task * task


def wait_or_open(gate: Path, task: int) -> int:
    """Give ``task`` back: task 0 only once another process has come to task 5."""
    if task == 5:
        gate.touch()
    if task == 0 and not soon(gate.exists):
        raise TimeoutError("nobody came to task 5")
    return task
