"""A folder that appears whole or not at all: filled beside its place, then renamed onto it.

While it is filled it is called ``.<name>.<random>.part`` and its maker holds a lock on it. A part without a lock was
left by a process that died; the next one that makes a folder of this name removes it.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from proxy_training.folder_lock import lock_folder

_PART = ".part"
_OLD = ".old"


class PartFolder:
    """A folder under construction; files are made below ``path``."""

    def __init__(self, path: Path, place: Path) -> None:
        self.path = path
        self._place = place

    def publish(self) -> None:
        """Move the folder to its place; what stood there is removed after that."""
        _sync_folder(self.path)
        old = self.path.with_suffix(_OLD)
        replaces = self._place.exists()
        if replaces:
            self._place.rename(old)
        try:
            self.path.rename(self._place)
        except OSError:
            if replaces:
                old.rename(self._place)
            raise
        _sync_folder(self._place.parent)
        if replaces:
            shutil.rmtree(old)


@contextmanager
def part_folder(place: Path) -> Iterator[PartFolder]:
    """A new folder that will stand at ``place``, removed again unless it was published.

    Raises:
        OSError: when the folder of ``place`` cannot be written.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    with _locked(place.parent, wait=True):  # nobody sweeps between our making the folder and our locking it
        _sweep(place)
        path = place.parent / f".{place.name}.{secrets.token_hex(4)}{_PART}"
        path.mkdir()
        lock = lock_folder(path, wait=False)
    try:
        yield PartFolder(path, place)
    finally:
        os.close(lock)
        shutil.rmtree(path, ignore_errors=True)  # gone already when it was published


def _sweep(place: Path) -> None:
    """Remove what processes that died have left, and put back a folder that was about to be replaced."""
    pattern = f".{_glob_escape(place.name)}.????????"
    for old in place.parent.glob(pattern + _OLD):
        if place.exists():
            shutil.rmtree(old)
        else:
            old.rename(place)
    for part in place.parent.glob(pattern + _PART):
        with suppress(BlockingIOError, FileNotFoundError), _locked(part, wait=False):
            shutil.rmtree(part)


def _glob_escape(name: str) -> str:
    """``name`` as a pattern that matches only itself."""
    return "".join(f"[{char}]" if char in "*?[" else char for char in name)


@contextmanager
def _locked(folder: Path, wait: bool) -> Iterator[None]:
    handle = lock_folder(folder, wait)
    try:
        yield
    finally:
        os.close(handle)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
