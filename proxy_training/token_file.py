"""The tokens of one shard, read where they are asked for.

Not through a memory map: to touch a page of one beyond the end of its file kills the process (SIGBUS), and no check
before it helps against somebody who cuts the file short just after. Reading says how much there was.
"""

from __future__ import annotations

import os
import weakref
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt

from proxy_training.errors import CorpusError


class TokenFile:
    """An opened file of ``file_bytes`` bytes; it stays open until nobody has this any more.

    Raises:
        CorpusError: it cannot be opened.
    """

    def __init__(self, path: Path, file_bytes: int, dtype: np.dtype) -> None:
        self._path = path
        self._file_bytes = file_bytes
        self._dtype = dtype
        try:
            self._descriptor = os.open(path, os.O_RDONLY)
        except OSError as exc:
            raise CorpusError(f"{path} cannot be read: {exc.strerror}") from exc
        weakref.finalize(self, os.close, self._descriptor)

    def windows(self, starts: Int[np.ndarray, " n"], tokens: int) -> UInt[np.ndarray, "n tokens"]:
        """The ``tokens`` tokens from each of ``starts`` on; read-only.

        Raises:
            CorpusError: the file ends before one of them, or cannot be read.
        """
        size = tokens * self._dtype.itemsize
        found = [self._read(start, size) for start in (starts * self._dtype.itemsize).tolist()]
        return np.frombuffer(b"".join(found), self._dtype).reshape(len(starts), tokens)

    def part(self, start: int, tokens: int) -> UInt[np.ndarray, " tokens"]:
        """The ``tokens`` tokens from ``start`` on; read-only.

        Raises:
            CorpusError: the file ends before, or cannot be read.
        """
        return np.frombuffer(self._read(start * self._dtype.itemsize, tokens * self._dtype.itemsize), self._dtype)

    def _read(self, offset: int, size: int) -> bytes:
        try:
            found = os.pread(self._descriptor, size, offset)
            while len(found) < size:  # a network file system may give less at once
                more = os.pread(self._descriptor, size - len(found), offset + len(found))
                if not more:
                    raise self._cut_short()
                found += more
        except OSError as exc:
            raise CorpusError(f"{self._path} cannot be read: {exc.strerror}") from exc
        return found

    def _cut_short(self) -> CorpusError:
        return CorpusError(
            f"{self._path} was cut short while it was in use, from {self._file_bytes} bytes to "
            f"{os.fstat(self._descriptor).st_size}; build the corpus again"
        )
