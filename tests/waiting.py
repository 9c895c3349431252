"""Waiting for what other threads and processes do: as short as possible, and never for ever."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path


def soon(holds: Callable[[], bool], seconds: float = 30.0) -> bool:
    """Whether ``holds`` becomes true within ``seconds``; asked again and again."""
    deadline = time.monotonic() + seconds
    while not (held := holds()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return held


def alive(pid: int) -> bool:
    """Whether the process runs; one that has ended but was not reaped yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
