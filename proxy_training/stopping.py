"""How a process is told to stop: by a signal, or by the end of the process that started it."""

from __future__ import annotations

import os
import signal
import time
from types import FrameType

_SLICE_SECONDS = 0.1


class StopRequest:
    """Looked at before every step; cheap to look at.

    A plain flag, not a ``threading.Event``: a signal handler that sets an event can wait for a lock that the
    interrupted thread holds.

    Args:
        parent_pid: stop, too, when this process is not the parent any more.
    """

    def __init__(self, parent_pid: int | None = None) -> None:
        self._parent_pid = parent_pid
        self._flag = False

    def listen(self) -> None:
        """Take SIGTERM and SIGINT as requests from now on.

        After that a Ctrl-C ends the process at once. SIGTERM does not: schedulers send it to a process and to its
        parent, which passes it on, and end who does not listen by SIGKILL.
        """
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, self._on_signal)

    def ask(self) -> None:
        """Request the stop."""
        self._flag = True

    @property
    def asked(self) -> bool:
        """Whether to stop."""
        return self._flag or (self._parent_pid is not None and os.getppid() != self._parent_pid)

    def wait(self, seconds: float) -> None:
        """Sleep, but no longer than until the request."""
        until = time.monotonic() + seconds
        while not self.asked and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _SLICE_SECONDS))

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        del signum, frame
        self.ask()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
