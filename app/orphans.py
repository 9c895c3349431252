"""No process of ours outlives the one that started it, however that one ended."""

from __future__ import annotations

import os
import threading

# How soon a child notices that its parent was killed.
_LOOK_EVERY_SECONDS = 0.5


def exit_with_parent(parent_pid: int) -> None:
    """Watch from a daemon thread, and end this process at once when the parent is gone.

    ``parent_pid`` is given by the parent itself: asked for here, it could be the number of who adopted us.
    """

    def watch() -> None:
        wait = threading.Event()
        while os.getppid() == parent_pid:
            wait.wait(_LOOK_EVERY_SECONDS)
        # Not sys.exit: that would end this thread only, and a long computation holds the main one.
        os._exit(1)

    threading.Thread(target=watch, name="exit-with-parent", daemon=True).start()
