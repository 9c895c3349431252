"""A command of the user's own as a process: its lines as they come, its end, and never anything left of it."""

from __future__ import annotations

import os
import re
import selectors
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal

from proxy_training import watchdog

# Between SIGTERM and SIGKILL; less than the half minute that schedulers usually give the agent itself.
GRACE_SECONDS = 15.0
# A result of a trainer with thousands of targets is shorter.
LONGEST_LINE_BYTES = 1 << 20
_READ_BYTES = 1 << 20  # all that a pipe holds, in one call
_ERROR_LINES = 8
_ERROR_CHARACTERS = 2000

Stream = Literal["stdout", "stderr"]
_STREAMS: tuple[Stream, ...] = ("stdout", "stderr")


@dataclass(frozen=True)
class End:
    """How a command ended. ``code`` is negative for a signal."""

    code: int
    cpu_seconds: float

    @property
    def how(self) -> str:
        """For a sentence about the command."""
        if self.code >= 0:
            return f"ended with code {self.code}"
        try:
            return f"was ended by {signal.Signals(-self.code).name}"
        except ValueError:  # a real-time signal has no name
            return f"was ended by signal {-self.code}"


class Lines:
    """Bytes in, whole lines out. A line without an end takes no more memory than the longest one allowed."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        """The lines that ``data`` completes; one that is too long is cut to one byte more than the longest."""
        first, *others = re.split(rb"[\r\n]+", data)
        if len(self._rest) <= LONGEST_LINE_BYTES:
            self._rest = (self._rest + first)[: LONGEST_LINE_BYTES + 1]
        if not others:
            return []
        whole, self._rest = [self._rest, *others[:-1]], others[-1]
        return [line.decode(errors="replace") for line in whole if line]


class CommandProcess:
    """A running command; leaving the context ends it.

    Args:
        lock: a handle that stays open until the last process of the command is gone, if there is one.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        lock: int | None = None,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        self.end: End | None = None
        self._last_errors: deque[str] = deque(maxlen=_ERROR_LINES)
        self._status = b""
        status, told = os.pipe()
        try:
            self._watchdog = subprocess.Popen(
                [sys.executable, "-I", "-S", str(Path(watchdog.__file__)), str(told), str(grace_seconds), *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=dict(environment),
                pass_fds=(told,) if lock is None else (told, lock),
                start_new_session=True,  # Ctrl-C in a terminal is for the agent, which then ends its commands in order
            )
        except BaseException:
            os.close(status)
            raise
        finally:
            os.close(told)
        self._status_handle = status
        self._selector = selectors.DefaultSelector()
        self._lines: dict[Stream, Lines] = {stream: Lines() for stream in _STREAMS}
        assert self._watchdog.stdout is not None
        assert self._watchdog.stderr is not None
        handles = {"stdout": self._watchdog.stdout.fileno(), "stderr": self._watchdog.stderr.fileno(), "status": status}
        for name, handle in handles.items():
            os.set_blocking(handle, False)
            self._selector.register(handle, selectors.EVENT_READ, name)

    def __enter__(self) -> CommandProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del kind, error, trace
        self.stop()
        while self.end is None:
            self.read(1.0)
        self._selector.close()
        os.close(self._status_handle)
        for pipe in (self._watchdog.stdout, self._watchdog.stderr):
            assert pipe is not None
            pipe.close()
        self._watchdog.wait()

    @property
    def is_silent(self) -> bool:
        """Whether it has closed its standard output and so can say nothing more."""
        return "stdout" not in self._open_streams()

    @property
    def last_errors(self) -> str:
        """The last lines of its standard error, or that there are none."""
        return " | ".join(self._last_errors)[-_ERROR_CHARACTERS:] or "it wrote nothing to its standard error"

    def stop(self) -> None:
        """Ask it to end; when the grace period is over it is killed. Go on reading meanwhile."""
        assert self._watchdog.stdin is not None
        self._watchdog.stdin.close()

    def read(self, wait_seconds: float) -> list[tuple[Stream, str]]:
        """Wait for output, and give the whole lines of it; the last ones come together with ``end``."""
        lines = [line for key, _ in self._selector.select(wait_seconds) for line in self._take(key.fd, key.data)]
        if "status" not in self._open_streams():
            # What the pipes still hold; waiting for their end would be waiting for whoever has inherited them.
            for key in list(self._selector.get_map().values()):
                lines += self._take(key.fd, key.data)
            for stream in _STREAMS:
                lines += self._whole(stream, b"\n")
            code, _, cpu_seconds = self._status.decode().partition(" ")
            # Without a word about the end, the watchdog was killed, and the command with it.
            self.end = End(int(code or -signal.SIGKILL), float(cpu_seconds or 0))
        return lines

    def _open_streams(self) -> set[str]:
        return {key.data for key in self._selector.get_map().values()}

    def _take(self, handle: int, name: str) -> list[tuple[Stream, str]]:
        try:
            data = os.read(handle, _READ_BYTES)
        except BlockingIOError:
            return []
        if not data:
            self._selector.unregister(handle)
        if name == "status":
            self._status += data
            return []
        return self._whole("stdout" if name == "stdout" else "stderr", data)

    def _whole(self, stream: Stream, data: bytes) -> list[tuple[Stream, str]]:
        lines = self._lines[stream].feed(data)
        if stream == "stderr":
            self._last_errors.extend(line.strip()[:_ERROR_CHARACTERS] for line in lines if line.strip())
        return [(stream, line) for line in lines]
