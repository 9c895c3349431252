"""JSON Lines, perhaps compressed: a line is an object, and one of its fields is the text."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from proxy_training.errors import CorpusError
from proxy_training.readers.base import BLOCK_BYTES, Block, Document, TextSource, check_length, longest_read, names
from proxy_training.readers.compression import open_stream

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_json_lines(path: Path, source: TextSource) -> Iterator[Block]:
    """Blocks of whole lines."""
    with open_stream(path) as (stream, position):
        number = 1
        while lines := stream.read(BLOCK_BYTES):
            if not lines.endswith(b"\n"):
                lines += stream.readline(longest_read())
            yield Lines(path, position(), lines, number, source.text_field)
            number += lines.count(b"\n")


@dataclass(frozen=True)
class Lines(Block):
    """Whole lines, of which the first is number ``first_line`` of the file; blank lines do not count."""

    lines: bytes
    first_line: int
    field: str

    @property
    def size(self) -> int:
        return len(self.lines)

    def documents(self) -> Iterator[Document]:
        decode, field = json.JSONDecoder().decode, self.field
        for number, line in enumerate(io.BytesIO(self.lines), start=self.first_line):
            check_length(len(line), f"{self.path}, line {number}")
            if number == 1:
                line = line.removeprefix(_BYTE_ORDER_MARK)
            if line.isspace():
                continue
            try:
                utf8 = decode(line.decode())[field].encode()
            except (ValueError, RecursionError, TypeError, KeyError, AttributeError) as exc:
                raise CorpusError(f"{self.path}, line {number}: {_wrong_line(exc, line, field)}") from exc
            yield Document(utf8)


def _wrong_line(error: Exception, line: bytes, field: str) -> str:
    wanted = f'a line must be a JSON object {{"{field}": "..."}}'
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8 text; {wanted}"
    if isinstance(error, UnicodeEncodeError):
        return "the text holds half of a surrogate pair, which is not Unicode; write the whole character"
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON ({error.msg} at column {error.colno}); {wanted}"
    if isinstance(error, KeyError):
        return f"no {field!r} in it, only {names(list(json.loads(line)))}; {wanted}, or name another text_field"
    if isinstance(error, TypeError | AttributeError):
        return f"no object with a text as {field!r} in it; {wanted}"
    return f"JSON that cannot be read ({type(error).__name__}); {wanted}"
