"""Parquet: a row is a document. Only the column of text is read, a page at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from proxy_training.readers.base import BLOCK_BYTES, Block, TextSource
from proxy_training.readers.columns import arrow_errors, check_column, column_blocks

_BUFFER_BYTES = 1 << 18
_MOST_ROWS = 1024  # at a time; what the file says of the size of its rows is wrong where texts repeat


def read_parquet(path: Path, source: TextSource) -> Iterator[Block]:
    """Blocks of the column of text."""
    field, size = source.text_field, path.stat().st_size
    with (
        arrow_errors(path, "Parquet"),
        pa.OSFile(str(path)) as file,
        pq.ParquetFile(file, buffer_size=_BUFFER_BYTES, pre_buffer=False) as table,
    ):
        check_column(path, field, table.schema_arrow)
        first_row, all_rows = 0, table.metadata.num_rows
        for group in range(table.metadata.num_row_groups):
            rows = _rows_at_a_time(table.metadata.row_group(group), field)
            for batch in table.iter_batches(rows, row_groups=[group], columns=[field], use_threads=False):
                position = size * (first_row + len(batch)) // all_rows
                yield from column_blocks(path, batch, field, first_row, position)
                first_row += len(batch)


def _rows_at_a_time(group: pq.RowGroupMetaData, field: str) -> int:
    """About as many rows as make a block, by the size that the file states."""
    columns = (group.column(number) for number in range(group.num_columns))
    stated = sum(column.total_uncompressed_size for column in columns if column.path_in_schema == field)
    return max(1, min(_MOST_ROWS, BLOCK_BYTES * group.num_rows // max(stated, 1)))
