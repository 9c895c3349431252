"""Work for other processes that is quick to import there."""

from __future__ import annotations

import os
import signal


def kill_at_seven(task: int) -> int:
    """The square of ``task``; the process that works on 7 is killed."""
    if task == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return task * task
