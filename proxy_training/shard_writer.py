"""Writes the documents of one split of one domain: tokens and index, each with its checksum, in one pass."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from jaxtyping import Int64, UInt

from proxy_training.manifest import INDEX_COLUMNS, ShardFile, Split

_BUFFER_BYTES = 1 << 20
_ROW_TYPE = np.dtype("<i8")  # of first token, tokens, UTF-8 bytes


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

    def add(
        self,
        tokens: UInt[np.ndarray, " all_tokens"],
        token_counts: Int64[np.ndarray, " documents"],
        byte_counts: Int64[np.ndarray, " documents"],
    ) -> None:
        """Append documents whose tokens follow one another; of each the number of tokens and UTF-8 bytes."""
        if not len(token_counts):
            return
        first_tokens = self.tokens + np.cumsum(token_counts) - token_counts
        rows = np.stack((first_tokens, token_counts, byte_counts), axis=1).astype(_ROW_TYPE)
        self._tokens_file.write(np.ascontiguousarray(tokens).data.cast("B"))
        self._index_file.write(rows.tobytes())
        self.documents += len(token_counts)
        self.tokens += len(tokens)
        self.bytes += int(byte_counts.sum())
        self.longest_tokens = max(self.longest_tokens, int(token_counts.max()))

    def finish(self) -> Split:
        """Put the split on the disk, its index in the order in which the documents came."""
        return self._split(self._index_file.finish())

    def finish_ordered(self, keys: list[bytes]) -> Split:
        """The same with the index rows in the order of ``keys``, one a document."""
        self._index_file.finish()
        path = self._index_file.path
        rows = np.fromfile(path, dtype=_ROW_TYPE).reshape(-1, INDEX_COLUMNS)
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
