"""The same documents in every format that a corpus is built from, written by the libraries that users write with."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from proxy_training.bpe import train_bpe
from proxy_training.json_tokenizer import JsonTokenizer


def lines_of(texts: Sequence[str], field: str = "text") -> bytes:
    return "".join(json.dumps({"id": n, field: text}) + "\n" for n, text in enumerate(texts)).encode()


def write_lines(path: Path, texts: Sequence[str]) -> None:
    path.write_bytes(lines_of(texts))


def write_gzip(path: Path, texts: Sequence[str]) -> None:
    """Two members, as ``cat a.gz b.gz`` makes them."""
    middle = len(texts) // 2
    path.write_bytes(gzip.compress(lines_of(texts[:middle])) + gzip.compress(lines_of(texts[middle:])))


def write_zstd(path: Path, texts: Sequence[str]) -> None:
    """Two frames, as parallel compressors make them."""
    middle, compress = len(texts) // 2, zstandard.ZstdCompressor().compress
    path.write_bytes(compress(lines_of(texts[:middle])) + compress(lines_of(texts[middle:])))


def table_of(texts: Sequence[str], field: str = "text") -> pa.Table:
    return pa.table({"id": pa.array(range(len(texts))), field: pa.array(texts, pa.string())})


def write_parquet(path: Path, texts: Sequence[str], field: str = "text") -> None:
    """Several row groups; dictionary pages, as the library writes by default."""
    pq.write_table(table_of(texts, field), path, row_group_size=max(len(texts) // 3, 1))


def write_categories(path: Path, texts: Sequence[str]) -> None:
    """A column of categories, as pandas writes them."""
    pq.write_table(pa.table({"text": pa.array(texts).dictionary_encode()}), path)


def write_arrow_file(path: Path, texts: Sequence[str]) -> None:
    table = table_of(texts)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=7)


def write_arrow_stream(path: Path, texts: Sequence[str]) -> None:
    table = table_of(texts)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=7)


# The formats of one file, by its name.
FORMATS: dict[str, Callable[[Path, Sequence[str]], None]] = {
    "a.jsonl": write_lines,
    "a.jsonl.gz": write_gzip,
    "a.NDJSON.zst": write_zstd,
    "a.parquet": write_parquet,
    "categories.parquet": write_categories,
    "file.arrow": write_arrow_file,
    "stream.arrow": write_arrow_stream,
}


def write_megatron(prefix: Path, documents: Sequence[Sequence[int]], dtype: str = "<u2") -> None:
    """As megatron.core.datasets.indexed_dataset writes them: one sequence a document."""
    codes = {"<u1": 1, "<i4": 4, "<i8": 5, "<f4": 7, "<u2": 8}
    arrays = [np.asarray(document, dtype) for document in documents]
    lengths = np.array([len(array) for array in arrays], "<i4")
    ends = np.cumsum([array.nbytes for array in arrays], dtype="<i8")
    header = b"MMIDIDX\x00\x00" + struct.pack("<QBQQ", 1, codes[dtype], len(arrays), len(arrays) + 1)
    index = (lengths, np.concatenate(([0], ends[:-1])).astype("<i8"), np.arange(len(arrays) + 1, dtype="<i8"))
    prefix.with_name(prefix.name + ".bin").write_bytes(b"".join(array.tobytes() for array in arrays))
    prefix.with_name(prefix.name + ".idx").write_bytes(header + b"".join(part.tobytes() for part in index))


def write_tokenizer(
    path: Path, texts: Sequence[str], vocab_size: int = 400, marks: Sequence[str] = ()
) -> JsonTokenizer:
    """A small byte-level BPE, with special tokens after its other ones."""
    made = train_bpe(iter(texts), vocab_size)
    assert made.content is not None
    content = json.loads(made.content)
    special = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    content["added_tokens"] = [{"id": made.vocab_size + n, "content": mark, **special} for n, mark in enumerate(marks)]
    path.write_text(json.dumps(content), encoding="utf-8")
    return JsonTokenizer(path.read_bytes())
