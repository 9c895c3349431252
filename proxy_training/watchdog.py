"""Runs one command of the user's own and outlives its agent just long enough to end it.

    python -I -S watchdog.py STATUS_HANDLE GRACE_SECONDS PROGRAM [ARGUMENT]...

The standard input is a pipe that only the agent holds open. When it closes, because the agent wants the end or was
killed in any way, the command's whole process group gets SIGTERM and, after the grace period, SIGKILL. When the
command ends, what it has left in its group is killed, and ``<exit code> <CPU seconds>`` goes to the status handle; the
code is negative for a signal. Standard library only: it must start in a moment and stay small.

On Linux the command itself (not its children) dies, too, when this process is killed. A child that has moved to a
session of its own is out of reach.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

_CANNOT_START = 127  # as shells say it
_PR_SET_PDEATHSIG = 1  # prctl(2)


def main(status_handle: int, grace_seconds: float, command: list[str]) -> None:
    """Run ``command`` to its end."""
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # Schedulers signal every process of a job; what becomes of the command is the agent's to say. A handler and
        # not SIG_IGN, which the command would inherit.
        signal.signal(signum, lambda *_: None)
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=_ending_with_this_process()
        )
    except OSError as error:
        sys.stderr.write(f"{command[0]} cannot be started: {error}\n")
        sys.stderr.flush()
        os.write(status_handle, f"{_CANNOT_START} 0".encode())
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):  # the pipes are the command's alone, so that the agent sees when it closes them
        os.dup2(nowhere, stream)
    threading.Thread(target=_end_with_agent, args=(process.pid, grace_seconds), daemon=True).start()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # not reaped: its number stays its own
    _signal_group(process.pid, signal.SIGKILL)
    _, status, used = os.wait4(process.pid, 0)
    code = os.waitstatus_to_exitcode(status)
    os.write(status_handle, f"{code} {used.ru_utime + used.ru_stime}".encode())


def _end_with_agent(group: int, grace_seconds: float) -> None:
    while os.read(0, 1):
        pass
    _signal_group(group, signal.SIGTERM)
    time.sleep(grace_seconds)
    _signal_group(group, signal.SIGKILL)


def _signal_group(group: int, signum: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):  # gone, or only a zombie is left (macOS)
        os.killpg(group, signum)


def _ending_with_this_process() -> Callable[[], object] | None:
    """What the process does before it becomes the command."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up here: nothing but the call is left for the forked process
    return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:])
