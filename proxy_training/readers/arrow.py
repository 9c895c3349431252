"""Arrow files, as Hugging Face ``datasets`` saves them (the streaming form) and as others do (the file form)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from proxy_training.errors import CorpusError
from proxy_training.readers.base import Block, TextSource
from proxy_training.readers.columns import arrow_errors, check_column, column_blocks

# Arrow's columnar format, "IPC File Format" and "IPC Streaming Format".
_FILE_MAGIC = b"ARROW1"
_END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"


def read_arrow(path: Path, source: TextSource) -> Iterator[Block]:
    """Blocks of the column of text, one record batch in memory at a time."""
    field, first_row = source.text_field, 0
    with arrow_errors(path, "Arrow"), pa.OSFile(str(path)) as file:
        size = file.size()
        for batch in _batches(path, file, size, field):
            yield from column_blocks(path, batch, field, first_row, min(file.tell(), size))
            first_row += len(batch)


def _batches(path: Path, file: pa.NativeFile, size: int, field: str) -> Iterator[pa.RecordBatch]:
    """The record batches with the column of text in them."""
    if file.read(len(_FILE_MAGIC)) == _FILE_MAGIC:
        table = pa.ipc.open_file(file)
        check_column(path, field, table.schema)
        only_text = pa.ipc.IpcReadOptions(included_fields=[table.schema.get_field_index(field)], use_threads=False)
        table = pa.ipc.open_file(file, options=only_text)
        yield from (table.get_batch(number) for number in range(table.num_record_batches))
        return
    file.seek(max(size - len(_END_OF_STREAM), 0))
    whole = file.read() == _END_OF_STREAM
    file.seek(0)
    stream = pa.ipc.open_stream(file, options=pa.ipc.IpcReadOptions(use_threads=False))
    check_column(path, field, stream.schema)
    if not whole:  # a reader takes a stream that ends between two batches for a whole one
        raise CorpusError(f"{path} was cut short: it does not end with Arrow's end-of-stream mark")
    yield from stream
