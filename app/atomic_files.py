"""Files that appear whole or not at all: written beside their place, then renamed onto it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

_PRIVATE = 0o600


def check_writable(path: Path) -> None:
    """Refuse a place that :func:`write_text` could not write to, before the work that it is for.

    Raises:
        OSError: naming the path and what is wrong with it.
    """
    folder = path.parent
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a directory; name a file")
    if path.exists() and not path.is_file():
        raise OSError(f"{path} is not a regular file; name a file")
    if not folder.is_dir():
        raise FileNotFoundError(f"the folder {folder} of {path.name} does not exist")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"the folder {folder} of {path.name} is not writable")


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` as UTF-8, as :func:`write_bytes` does."""
    write_bytes(path, text.encode("utf-8"))


def write_secret(path: Path, text: str) -> None:
    """Write ``text`` to ``path``, which only its owner may read, as :func:`write_bytes` does."""
    write_bytes(path, text.encode("utf-8"), _PRIVATE)


def write_bytes(path: Path, content: bytes, mode: int | None = None) -> None:
    """Write ``content`` to ``path``; a reader sees the old file or the whole new one.

    Args:
        mode: its permissions; None for those of the file that is replaced, or those that a new file would get.

    Raises:
        OSError: when the disk is full or the place is not writable; the old file is then as it was.
    """
    check_writable(path)
    place = path.resolve()  # a link stays a link: the file that it names is replaced
    handle, name = tempfile.mkstemp(prefix=f".{place.name}.", suffix=".part", dir=place.parent)
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.chmod(_mode_of(place) if mode is None else mode)
        part.replace(place)
    except BaseException:  # an interrupt too must leave nothing behind
        part.unlink(missing_ok=True)
        raise


def _mode_of(place: Path) -> int:
    """The permissions of the file that is replaced, or those that a new file would get."""
    if place.exists():
        return place.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
