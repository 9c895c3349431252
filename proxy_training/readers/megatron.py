"""Megatron's indexed data sets: ``NAME.bin`` holds the tokens of all sequences, ``NAME.idx`` says where each begins.

The index, little-endian (megatron.core.datasets.indexed_dataset): the magic, uint64 version 1, uint8 code of the token
type, uint64 n sequences, uint64 m document borders, int32 lengths[n], int64 byte pointers[n], int64 borders[m], where
document d is the sequences borders[d] .. borders[d + 1] - 1, and for several media uint8 modes[n].
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Int32, Int64, Integer

from proxy_training.errors import CorpusError
from proxy_training.json_tokenizer import JsonTokenizer, read_tokenizer
from proxy_training.readers.base import BLOCK_BYTES, Block, Document, TextSource, TokenFiles, check_length

_MAGIC = b"MMIDIDX\x00\x00"
_HEADER = struct.Struct("<9sQBQQ")
_TYPES = {1: "<u1", 2: "<i1", 3: "<i2", 4: "<i4", 5: "<i8", 8: "<u2"}  # codes 6 and 7 are floating point
_DOCUMENTS_AT_A_TIME = 4096


def read_megatron(path: Path, source: TextSource) -> Iterator[Block]:
    """Blocks of the documents of ``path``, a ``.bin`` file with its ``.idx`` beside it."""
    index = MegatronIndex(path)
    if source.token_files is None:
        raise CorpusError(f"{path} holds tokens; name their tokenizer.json as megatron_tokenizer of the domain")
    position = 0
    for first in range(0, index.documents, _DOCUMENTS_AT_A_TIME):
        last = min(first + _DOCUMENTS_AT_A_TIME, index.documents)
        borders = index.borders(first, last)
        lengths, pointers = index.sequences(int(borders[0]), int(borders[-1]))
        ends = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))[borders - borders[0]] * index.dtype.itemsize
        start = 0
        while start < last - first:
            fit = int(np.searchsorted(ends, ends[start] + BLOCK_BYTES, side="right")) - 1
            end = min(max(fit, start + 1), last - first)
            own = slice(int(borders[start] - borders[0]), int(borders[end] - borders[0]))
            position += int(ends[end] - ends[start])
            yield Sequences(
                path,
                position,
                dtype=index.dtype,
                lengths=lengths[own],
                pointers=pointers[own],
                borders=borders[start : end + 1] - borders[start],
                first_document=first + start,
                token_files=source.token_files,
            )
            start = end


class MegatronIndex:
    """The ``.idx`` of a ``.bin`` file, read in parts: with short documents it is as large as the tokens.

    Raises:
        CorpusError: when either file is missing, cut short or of another kind.
    """

    def __init__(self, tokens: Path) -> None:
        self._path = tokens.with_suffix(".idx")
        for path in (tokens, self._path):
            if not path.is_file():
                raise CorpusError(f"there is no {path}; Megatron's data are two files, NAME.bin and NAME.idx")
        with self._path.open("rb") as file:
            header = file.read(_HEADER.size)
        if len(header) < _HEADER.size or not header.startswith(_MAGIC):
            raise CorpusError(
                f"{self._path} is no index of Megatron data: it does not begin with {_MAGIC[:7].decode()}"
            )
        _, version, code, self._sequences, borders = _HEADER.unpack(header)
        if version != 1:
            raise CorpusError(f"{self._path} is of version {version}; version 1 can be read")
        if code not in _TYPES:
            raise CorpusError(
                f"{self._path} says that a token is of type {code}; accepted are whole numbers, {[*_TYPES]}"
            )
        self.dtype = np.dtype(_TYPES[code])
        self.documents = borders - 1
        wanted = _HEADER.size + 12 * self._sequences + 8 * borders
        size = self._path.stat().st_size
        if size not in (wanted, wanted + self._sequences):  # with modes, one byte a sequence
            raise CorpusError(
                f"{self._path} has {size} bytes where its header means {wanted}; it is damaged or cut short"
            )
        self._check_borders(borders)
        self._check_tokens(tokens)

    def borders(self, first: int, last: int) -> Int64[np.ndarray, " documents_plus_1"]:
        """The first sequence of the documents ``first`` .. ``last - 1``, and the one after them."""
        found = self._read("<i8", 12 * self._sequences, first, last + 1)
        if np.any(np.diff(found) < 0) or found[0] < 0 or found[-1] > self._sequences:
            raise CorpusError(f"{self._path} is damaged: its documents do not follow one another")
        return found

    def sequences(
        self, first: int, last: int
    ) -> tuple[Int32[np.ndarray, " sequences"], Int64[np.ndarray, " sequences"]]:
        """Lengths in tokens and places in bytes of the sequences ``first`` .. ``last - 1``."""
        lengths = self._read("<i4", 0, first, last)
        pointers = self._read("<i8", 4 * self._sequences, first, last)
        if np.any(lengths < 0) or np.any(pointers < 0):
            raise CorpusError(f"{self._path} is damaged: a sequence has a negative length or place")
        return lengths, pointers

    def _check_borders(self, borders: int) -> None:
        if borders < 1 or self.borders(0, 0)[0] != 0 or self.borders(borders - 1, borders - 1)[0] != self._sequences:
            raise CorpusError(f"{self._path} is damaged: its documents do not cover its {self._sequences} sequences")

    def _check_tokens(self, tokens: Path) -> None:
        if self._sequences == 0:
            return
        lengths, pointers = self.sequences(self._sequences - 1, self._sequences)
        wanted = int(pointers[0]) + int(lengths[0]) * self.dtype.itemsize
        size = tokens.stat().st_size
        if size < wanted:
            raise CorpusError(f"{tokens} has {size} bytes where {self._path.name} means {wanted}; it was cut short")

    def _read(self, dtype: str, offset: int, first: int, last: int) -> np.ndarray:
        width = np.dtype(dtype).itemsize
        return np.fromfile(self._path, dtype=dtype, count=last - first, offset=_HEADER.size + offset + width * first)


@dataclass(frozen=True)
class Sequences(Block):
    """Documents as sequences of tokens. Marks at either end of a document, such as end-of-text, are no part of it."""

    dtype: np.dtype
    lengths: Int32[np.ndarray, " sequences"]
    pointers: Int64[np.ndarray, " sequences"]
    borders: Int64[np.ndarray, " documents_plus_1"]
    first_document: int
    token_files: TokenFiles

    @property
    def size(self) -> int:
        return int(self.lengths.sum(dtype=np.int64)) * self.dtype.itemsize

    def documents(self) -> Iterator[Document]:
        tokenizer = _tokenizer(self.token_files.tokenizer)
        with self.path.open("rb") as file:
            for number, (start, end) in enumerate(zip(self.borders, self.borders[1:], strict=False)):
                place = f"{self.path}, document {self.first_document + number}"
                check_length(int(self.lengths[start:end].sum(dtype=np.int64)) * self.dtype.itemsize, place)
                tokens = tokenizer.without_marks(self._tokens(file.fileno(), int(start), int(end)))
                if tokens.size and not 0 <= tokens.min() <= tokens.max() < tokenizer.vocab_size:
                    wrong = int(tokens.min()) if tokens.min() < 0 else int(tokens.max())
                    raise CorpusError(
                        f"{place} holds token {wrong}; {self.token_files.tokenizer} has {tokenizer.vocab_size}, "
                        "so it is not the tokeniser of this file"
                    )
                yield Document(tokenizer.decode(tokens).encode(), tokens if self.token_files.keep else None)

    def _tokens(self, file: int, start: int, end: int) -> Integer[np.ndarray, " tokens"]:
        parts = []
        for length, pointer in zip(self.lengths[start:end].tolist(), self.pointers[start:end].tolist(), strict=True):
            data = os.pread(file, length * self.dtype.itemsize, pointer)
            if len(data) < length * self.dtype.itemsize:
                raise CorpusError(
                    f"{self.path} ends before byte {pointer + length * self.dtype.itemsize}, which its .idx names"
                )
            parts.append(np.frombuffer(data, self.dtype))
        return np.concatenate(parts) if parts else np.empty(0, self.dtype)


@lru_cache(maxsize=8)
def _tokenizer(path: Path) -> JsonTokenizer:
    return read_tokenizer(path)
