"""Documents of files in the usual formats. A new format is one file here and its suffixes in ``READERS``.

Every other file is read as plain text, one document a file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from proxy_training.errors import CorpusError
from proxy_training.readers.arrow import read_arrow
from proxy_training.readers.base import Block, Document, Reader, TextSource
from proxy_training.readers.compression import COMPRESSIONS
from proxy_training.readers.json_lines import read_json_lines
from proxy_training.readers.megatron import read_megatron
from proxy_training.readers.parquet import read_parquet
from proxy_training.readers.plain_text import read_plain_text

READERS: dict[str, Reader] = {
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".parquet": read_parquet,
    ".arrow": read_arrow,
    ".bin": read_megatron,
}


def read_blocks(path: Path, source: TextSource) -> Iterator[Block]:
    """The content of ``path`` as blocks of documents, by the reader of this kind of file.

    Raises:
        CorpusError: when the file cannot be read or is not what its name says.
    """
    inner = Path(path.stem) if path.suffix.lower() in COMPRESSIONS else path
    reader = READERS.get(inner.suffix.lower(), read_plain_text)
    try:
        yield from reader(path, source)
    except OSError as exc:
        raise _unreadable(path, exc) from exc


def read_documents(block: Block) -> Iterator[Document]:
    """The documents of ``block``.

    Raises:
        CorpusError: when one is not text, or the file cannot be read.
    """
    try:
        yield from block.documents()
    except OSError as exc:
        raise _unreadable(block.path, exc) from exc


def _unreadable(path: Path, error: OSError) -> CorpusError:
    return CorpusError(f"{path} cannot be read: {error.strerror or error}")
