"""Files that appear whole or not at all: written beside their place, then renamed onto it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

_PREFIX, _SUFFIX = ".", ".part"


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Let ``write`` fill a file that then takes the place of ``path``; the folder is made when it is missing.

    The content is on the disk before the name is: neither a kill nor a power cut leaves half of it.

    Raises:
        OSError: when the disk is full or the place is not writable; what stood there is then as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f"{_PREFIX}{path.name}.", suffix=_SUFFIX, dir=path.parent)
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:  # an interrupt too must leave nothing behind
        part.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        return  # some network file systems know no such thing; the file is in its place all the same
    finally:
        os.close(handle)


def remove_parts(folder: Path, older_than_seconds: float, now: float) -> None:
    """Remove what killed processes left half written. ``now`` is seconds since the epoch.

    The age keeps the hands off a file that another process writes at this moment.
    """
    for part in folder.glob(f"{_PREFIX}*{_SUFFIX}"):
        try:
            if now - part.stat().st_mtime > older_than_seconds:
                part.unlink()
        except FileNotFoundError:
            continue  # its writer has finished it
