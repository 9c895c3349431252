"""Locks on folders, held through an open handle and so at the latest until the process that holds it ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


def lock_folder(folder: Path, wait: bool) -> int:
    """An open handle of ``folder`` that holds its lock until it, and every copy of it, is closed.

    Raises:
        BlockingIOError: another holds the lock, and ``wait`` is false.
        OSError: the folder is not there or cannot be read.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise
    return handle
