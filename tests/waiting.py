"""Waiting for what other threads and processes do, as short as possible and never for ever; and who they are."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

# Much longer than anything takes on a busy machine: only a test that fails waits for so long.
PATIENCE_SECONDS = 60.0


def soon(holds: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> bool:
    """Whether ``holds`` becomes true within ``seconds``; asked again and again."""
    deadline = time.monotonic() + seconds
    while not (held := holds()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return held


def state_of(pid: int) -> str:
    """The letter of the process's state in Linux, such as T when it is stopped; nothing when there is no process."""
    try:
        return _after_name(pid)[0]
    except OSError:
        return ""


def alive(pid: int) -> bool:
    """Whether the process runs; one that has ended but was not reaped yet does not."""
    return state_of(pid) not in ("", "Z")


def children_of(parent: int) -> dict[int, str]:
    """The living processes that ``parent`` has started, with their command lines."""
    return {pid: command for pid, (above, command) in _processes().items() if above == parent}


def spawned_by(parent: int) -> list[int]:
    """The worker processes that ``parent`` has started through Python's multiprocessing."""
    return sorted(pid for pid, command in children_of(parent).items() if "spawn_main" in command)


def descendants_of(ancestor: int) -> dict[int, str]:
    """The living processes that stem from ``ancestor``, with their command lines."""
    processes = _processes()
    found: dict[int, str] = {}
    wave = {ancestor}
    while wave:
        wave = {pid for pid, (above, _) in processes.items() if above in wave} - found.keys()
        found |= {pid: processes[pid][1] for pid in wave}
    return found


def _processes() -> dict[int, tuple[int, str]]:
    """(parent, command line) of every living process; one that ends while we look is left out."""
    found: dict[int, tuple[int, str]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = _after_name(int(folder.name))[:2]
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if state != "Z":
            found[int(folder.name)] = (int(parent), command)
    return found


def _after_name(pid: int) -> list[str]:
    """What ``/proc`` says of a process behind its name, which may hold anything: state, parent and so on."""
    return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
