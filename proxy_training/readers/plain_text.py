"""Plain text: a file is one document."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from proxy_training.errors import CorpusError
from proxy_training.readers.base import Block, Document, TextSource, check_length, longest_read
from proxy_training.readers.compression import open_stream

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_ACCEPTED = (
    "accepted are UTF-8 text files and JSON Lines (.jsonl, .ndjson), each also as .gz or .zst, Parquet (.parquet), "
    "Arrow (.arrow) and Megatron's .bin with .idx"
)


def read_plain_text(path: Path, source: TextSource) -> Iterator[Block]:
    """The whole file as one document; it is read where it is needed."""
    del source
    yield TextFile(path, path.stat().st_size)


@dataclass(frozen=True)
class TextFile(Block):
    """A file of text, perhaps compressed."""

    @property
    def size(self) -> int:
        return self.position

    def documents(self) -> Iterator[Document]:
        with open_stream(self.path) as (stream, _):
            data = stream.read(longest_read())
        check_length(len(data), str(self.path))
        data = data.removeprefix(_BYTE_ORDER_MARK)
        nul = data.find(b"\0")
        if nul >= 0:
            raise CorpusError(f"{self.path} is not text: byte {nul} is zero; {_ACCEPTED}")
        try:
            data.decode()
        except UnicodeDecodeError as exc:
            raise CorpusError(f"{self.path} is not text: byte {exc.start} is not UTF-8; {_ACCEPTED}") from exc
        yield Document(data)
