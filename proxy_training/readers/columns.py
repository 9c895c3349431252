"""A column of text in Arrow's memory, which Parquet and Arrow files both give."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Int64

from proxy_training.errors import CorpusError
from proxy_training.readers.base import BLOCK_BYTES, Block, Document, check_length, names


@dataclass(frozen=True)
class Column(Block):
    """Rows of a column of text: document i is ``data[offsets[i]:offsets[i + 1]]``."""

    data: bytes
    offsets: Int64[np.ndarray, " documents_plus_1"]
    first_row: int

    @property
    def size(self) -> int:
        return len(self.data)

    def documents(self) -> Iterator[Document]:
        ends = self.offsets.tolist()
        for row, (start, end) in enumerate(pairwise(ends), start=self.first_row):
            place = f"{self.path}, row {row}"
            check_length(end - start, place)
            utf8 = self.data[start:end]
            try:
                utf8.decode()
            except UnicodeDecodeError as exc:
                raise CorpusError(f"{place}: byte {exc.start} of the text is not UTF-8") from exc
            yield Document(utf8)


def check_column(path: Path, field: str, schema: pa.Schema) -> None:
    """Refuse a table without a column of text called ``field``.

    Raises:
        CorpusError: naming the columns of text that there are.
    """
    of_text = [column.name for column in schema if _is_text(column.type)]
    advice = f"name one of them as text_field of the domain: {names(of_text)}" if of_text else "it has no text"
    count = schema.names.count(field)
    if count == 0:
        raise CorpusError(f"{path} has no column {field!r}, only {names(schema.names)}; {advice}")
    if count > 1:
        raise CorpusError(f"{path} has {count} columns {field!r}; one must be the text")
    if field not in of_text:
        raise CorpusError(f"{path}: the column {field!r} holds {schema.field(field).type} and no text; {advice}")


def column_blocks(path: Path, batch: pa.RecordBatch, field: str, first_row: int, position: int) -> Iterator[Column]:
    """The column ``field`` of ``batch``, whose first row is number ``first_row`` of the file, cut into blocks.

    Raises:
        CorpusError: for a row without a text.
    """
    array = batch.column(field).cast(pa.large_string())
    if array.null_count:
        row = first_row + np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False))[0]
        raise CorpusError(f"{path}, row {row}: the column {field!r} is null; every row must hold a text")
    if not len(array):
        return
    _, offset_buffer, data = array.buffers()
    offsets = np.frombuffer(offset_buffer, dtype=np.int64)[array.offset : array.offset + len(array) + 1]
    row = 0
    while row < len(array):
        fit = int(np.searchsorted(offsets, offsets[row] + BLOCK_BYTES, side="right")) - 1
        end = min(max(fit, row + 1), len(array))
        start_byte, end_byte = int(offsets[row]), int(offsets[end])
        text = data.slice(start_byte, end_byte - start_byte).to_pybytes() if end_byte > start_byte else b""
        yield Column(path, position, text, offsets[row : end + 1] - start_byte, first_row + row)
        row = end


@contextmanager
def arrow_errors(path: Path, kind: str) -> Iterator[None]:
    """Arrow's complaints about the content as one sentence; those of the operating system pass.

    Raises:
        CorpusError: the file is damaged.
    """
    try:
        yield
    except (pa.ArrowException, OSError) as exc:
        if isinstance(exc, OSError) and exc.errno is not None:
            raise
        reason = str(exc).split("\n", 1)[0].split(". ", 1)[0].rstrip(".")
        raise CorpusError(f"{path} is damaged or no {kind} file: {reason}") from exc


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
