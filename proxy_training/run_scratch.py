"""Folders of runs on this machine: one run, one folder, kept from attempt to attempt until the run has its result."""

from __future__ import annotations

import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from proxy_training.errors import ProxyError
from proxy_training.folder_lock import lock_folder

_KEPT_SECONDS = 7 * 24 * 3600.0
_LOOK_EVERY_SECONDS = 0.1

log = logging.getLogger(__name__)


class FolderInUse(ProxyError):
    """Another process works on the run in the same folder."""


@dataclass
class RunFolder:
    """The folder of a run. ``lock`` is an open handle: who gets a copy of it keeps others out until its own end."""

    path: Path
    lock: int
    finished: bool = False  # set it, and the folder is removed


class RunScratch:
    """The folders below one folder; agents on one machine may share it.

    Raises:
        OSError: the folder cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._sweep(time.time())

    @contextmanager
    def of(self, run_id: str, patience_seconds: float, stopping: Callable[[], bool]) -> Iterator[RunFolder]:
        """The folder of a run, which nobody else can have meanwhile.

        Raises:
            FolderInUse: another process still has it after ``patience_seconds``, or at the request to stop.
            OSError: it cannot be made.
        """
        # Ids come from the network: whatever they hold, the folder stays in ours.
        path = self._folder / re.sub(r"[^A-Za-z0-9-]", "_", run_id)
        folder = RunFolder(path, _locked(path, time.monotonic() + patience_seconds, stopping))
        try:
            os.utime(path)  # its age counts from the last attempt
            yield folder
            if folder.finished:
                shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(folder.lock)

    def _sweep(self, now: float) -> None:
        """Remove folders of runs that were not tried here for a week."""
        for path in self._folder.iterdir():
            with suppress(OSError):  # in use, or another agent was faster
                lock = lock_folder(path, wait=False)
                try:
                    if now - path.stat().st_mtime > _KEPT_SECONDS:
                        shutil.rmtree(path)
                finally:
                    os.close(lock)


def _locked(path: Path, until: float, stopping: Callable[[], bool]) -> int:
    """The lock of the folder at ``path``, which is made when it is missing."""
    while True:
        path.mkdir(exist_ok=True)
        try:
            lock = lock_folder(path, wait=False)
        except FileNotFoundError:
            continue  # its last user has just removed it
        except BlockingIOError as exc:
            if stopping() or time.monotonic() >= until:
                raise FolderInUse(f"another process still works on this run in {path}") from exc
            time.sleep(_LOOK_EVERY_SECONDS)
            continue
        if path.exists() and os.path.samestat(os.fstat(lock), path.stat()):
            return lock
        os.close(lock)  # we have locked a folder that was removed meanwhile
