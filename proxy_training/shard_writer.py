"""Writes the documents of one split of one domain: tokens and index, each with its checksum, in one pass."""

from __future__ import annotations

import hashlib
import os
import struct
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from jaxtyping import UInt

from proxy_training.manifest import INDEX_COLUMNS, ShardFile, Split

_BUFFER_BYTES = 1 << 20
_ROW = struct.Struct("<qqq")  # first token, tokens, UTF-8 bytes


class HashedFile:
    """A new file that is hashed while it is written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("xb", buffering=0)
        self._sha256 = hashlib.sha256()
        self._buffer = bytearray()
        self._bytes = 0

    def write(self, data: bytes | memoryview) -> None:
        self._buffer += data
        if len(self._buffer) >= _BUFFER_BYTES:
            self._flush()

    def finish(self) -> ShardFile:
        """Put everything on the disk and say what stands there."""
        self._flush()
        os.fsync(self._file.fileno())
        self.close()
        return ShardFile(file=self.path.name, bytes=self._bytes, sha256=self._sha256.hexdigest())

    def close(self) -> None:
        self._file.close()

    def _flush(self) -> None:
        view = memoryview(self._buffer)
        self._sha256.update(view)
        self._bytes += len(view)
        written = 0
        while written < len(view):  # an unbuffered write may take only a part
            written += self._file.write(view[written:]) or 0
        view.release()
        self._buffer.clear()


class ShardWriter:
    """One split of one domain, as a context manager. Memory does not grow with the documents."""

    def __init__(self, folder: Path, stem: str) -> None:
        self._tokens_file = HashedFile(folder / f"{stem}.tokens")
        self._index_file = HashedFile(folder / f"{stem}.index")
        self.documents = 0
        self.tokens = 0
        self.bytes = 0
        self.longest_tokens = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tokens_file.close()
        self._index_file.close()

    def add(self, tokens: UInt[np.ndarray, " tokens"], utf8_bytes: int) -> None:
        """Append one document."""
        count = len(tokens)
        self._tokens_file.write(tokens.data)
        self._index_file.write(_ROW.pack(self.tokens, count, utf8_bytes))
        self.documents += 1
        self.tokens += count
        self.bytes += utf8_bytes
        if count > self.longest_tokens:
            self.longest_tokens = count

    def finish(self) -> Split:
        """Put the split on the disk, its index in the order in which the documents came."""
        return self._split(self._index_file.finish())

    def finish_ordered(self, keys: list[bytes]) -> Split:
        """The same with the index rows in the order of ``keys``, one a document."""
        self._index_file.finish()
        path = self._index_file.path
        rows = np.fromfile(path, dtype="<i8").reshape(-1, INDEX_COLUMNS)
        order = sorted(range(len(keys)), key=keys.__getitem__)
        path.unlink()
        with_order = HashedFile(path)
        try:
            with_order.write(rows[order].tobytes())
            return self._split(with_order.finish())
        finally:
            with_order.close()

    def _split(self, index: ShardFile) -> Split:
        shard = self._tokens_file.finish()
        return Split(documents=self.documents, tokens=self.tokens, bytes=self.bytes, shard=shard, index=index)
