"""From raw text to documents: cleaned, without exact duplicates, of at most a few pages.

Machine-made sources repeat themselves by the paragraph (licence headers, boilerplate of generated code), so
duplicates are removed paragraph by paragraph and then document by document. A validation part cut from these
documents is then not a copy of the training part.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

MAX_DOCUMENT_BYTES = 20_000
MIN_DOCUMENT_BYTES = 200  # shorter pieces are left-overs of splitting, not documents
# A repeated "return self" is language; a repeated paragraph of this length is a copy.
MIN_COPY_BYTES = 100

_BLANK_LINES = re.compile(r"\n\s*\n")
# Every line end that Unicode knows; a reader that splits lines must never cut a document in two.
_LINE_ENDS = re.compile("\r\n|[\r\x85\u2028\u2029]")
# Control characters other than tab and newline, and the marks of a decoding that went wrong.
_NOISE = re.compile("[\x00-\x08\x0b-\x1f\x7f\ufeff\ufffd]")


def clean(text: str) -> str:
    """Unix line ends, no control characters, no trailing blanks, at most one blank line in a row."""
    text = _NOISE.sub("", _LINE_ENDS.sub("\n", text))
    lines = (line.rstrip() for line in text.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")


class SeenText:
    """Remembers what a domain already holds, by digest, so that nothing enters it twice."""

    def __init__(self) -> None:
        self._digests: set[bytes] = set()

    def is_new_paragraph(self, text: str) -> bool:
        """True the first time; white space does not make a text new."""
        return self._is_new(text, b"paragraph")

    def is_new_document(self, text: str) -> bool:
        """The same for documents, which are counted apart: a document may be one paragraph."""
        return self._is_new(text, b"document")

    def _is_new(self, text: str, kind: bytes) -> bool:
        digest = hashlib.blake2b(" ".join(text.split()).encode(), digest_size=16, person=kind).digest()
        if digest in self._digests:
            return False
        self._digests.add(digest)
        return True


def documents_of(text: str, seen: SeenText) -> Iterator[str]:
    """The documents of one file: cleaned, without what ``seen`` knows, 200 bytes to 20 kB each."""
    parts = _BLANK_LINES.split(clean(text))
    fresh = (part for part in parts if _size(part) < MIN_COPY_BYTES or seen.is_new_paragraph(part))
    for document in _pack((piece for part in fresh for piece in _pieces(part)), "\n\n"):
        if _size(document) >= MIN_DOCUMENT_BYTES and seen.is_new_document(document):
            yield document


def _pack(pieces: Iterator[str], joint: str) -> Iterator[str]:
    """Joins neighbours into documents that are as long as allowed."""
    held: list[str] = []
    held_bytes = 0
    for piece in pieces:
        size = _size(piece) + len(joint)
        if held and held_bytes + size > MAX_DOCUMENT_BYTES:
            yield joint.join(held)
            held, held_bytes = [], 0
        held.append(piece)
        held_bytes += size
    if held:
        yield joint.join(held)


def _pieces(paragraph: str) -> Iterator[str]:
    """A paragraph as it is, or, when it alone is longer than a document may be, cut at line ends."""
    if _size(paragraph) + 2 <= MAX_DOCUMENT_BYTES:
        yield paragraph
        return
    lines = (piece for line in paragraph.split("\n") for piece in _short_lines(line))
    yield from _pack(lines, "\n")


def _short_lines(line: str) -> Iterator[str]:
    """A line in parts that fit a document; four bytes a character is the most that UTF-8 takes."""
    step = MAX_DOCUMENT_BYTES // 4 - 2
    for start in range(0, max(len(line), 1), step):
        yield line[start : start + step]


def _size(text: str) -> int:
    return len(text.encode())
