"""The processes that ``mixwright serve`` starts beside the API: kept alive while it runs, ended when it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType

import structlog

_LOOK_EVERY_SECONDS = 0.5
# How long a child may take to give back its work before it is killed.
_GRACE_SECONDS = 10.0
# A child that dies at once is started again ever more slowly.
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0

log = structlog.get_logger(__name__)


@dataclass
class Child:
    """A command that is to run all the time."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    ended_at: float | None = None
    pause_seconds: float = _FIRST_PAUSE_SECONDS

    def start(self) -> None:
        # A group of its own: Ctrl-C in the terminal reaches the server alone, which then ends its children in order.
        self.process = subprocess.Popen(
            list(self.command), env=dict(self.env), stdin=subprocess.DEVNULL, process_group=0
        )
        self.started_at, self.ended_at = time.monotonic(), None

    def send(self, signum: signal.Signals) -> None:
        """Signal the child and all that it started."""
        if self.process is None or self.ended_at is not None:
            return
        try:
            os.killpg(self.process.pid, signum)
        except ProcessLookupError:
            return  # the whole group has ended by itself

    def has_ended(self) -> bool:
        """Whether the child is gone; what it left behind in its group is killed when that is first seen."""
        if self.ended_at is None and self.process is not None and self.process.poll() is not None:
            self.send(signal.SIGKILL)
            self.ended_at = time.monotonic()
        return self.ended_at is not None

    def wait(self, seconds: float) -> bool:
        """Whether the child ended within ``seconds``."""
        deadline = time.monotonic() + seconds
        while self.process is not None and not self.has_ended():
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.02)
        return True


class Children:
    """A context in which every child runs, and is started again when it dies."""

    def __init__(self, children: Sequence[Child]) -> None:
        self._children = list(children)
        self._stopping = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="children", daemon=True)

    def __enter__(self) -> Children:
        try:
            for child in self._children:
                child.start()
        except BaseException:
            self._end_all()
            raise
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del kind, error, trace
        self._stopping.set()
        self._watcher.join()
        self._end_all()

    def _watch(self) -> None:
        while not self._stopping.wait(_LOOK_EVERY_SECONDS):
            for child in self._children:
                _start_again_when_due(child)

    def _end_all(self) -> None:
        for child in self._children:
            child.send(signal.SIGTERM)
        deadline = time.monotonic() + _GRACE_SECONDS
        for child in self._children:
            if not child.wait(deadline - time.monotonic()):
                log.warning("A process did not end in time", action="child_killed", child=child.name)
                child.send(signal.SIGKILL)
                child.wait(_GRACE_SECONDS)


def _start_again_when_due(child: Child) -> None:
    seen_before = child.ended_at is not None
    if not child.has_ended() or child.ended_at is None or child.process is None:
        return
    if not seen_before:
        log.warning(
            "A process of the service ended; starting another",
            action="child_ended",
            child=child.name,
            code=child.process.returncode,
            pause_seconds=child.pause_seconds,
        )
    if time.monotonic() - child.ended_at < child.pause_seconds:
        return
    lived = child.ended_at - child.started_at
    child.pause_seconds = (
        _FIRST_PAUSE_SECONDS if lived > _LONGEST_PAUSE_SECONDS else min(2 * child.pause_seconds, _LONGEST_PAUSE_SECONDS)
    )
    child.start()
