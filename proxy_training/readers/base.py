"""What a reader gives: blocks of documents, found in the building process and opened in any worker process.

A reader walks through a file and cuts it into blocks of about ``BLOCK_BYTES``; that is quick. Turning a block into
documents (parsing, checking that they are text) is the slow half, and a block carries all that it needs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Integer

from proxy_training.errors import CorpusError

BLOCK_BYTES = 1 << 18

# A document is held in memory as a whole, a few times over; this bounds what one can cost.
LARGEST_DOCUMENT_BYTES = 256 << 20


class Document(NamedTuple):
    """One document. ``tokens`` are those that it came with, when the corpus keeps them; else it is still to be cut."""

    utf8: bytes
    tokens: Integer[np.ndarray, " tokens"] | None = None


@dataclass(frozen=True)
class Block(ABC):
    """Some documents of one file, in their order; goes to worker processes.

    Args:
        path: the file, for messages.
        position: bytes of the file, as it lies on the disk, that are done with this block.
    """

    path: Path
    position: int

    @property
    @abstractmethod
    def size(self) -> int:
        """About the bytes of memory that its documents take."""

    @abstractmethod
    def documents(self) -> Iterator[Document]:
        """The documents.

        Raises:
            CorpusError: naming file and place of the first thing that is no text.
            OSError: the file cannot be read.
        """


@dataclass(frozen=True)
class TokenFiles:
    """How files of tokens become text: by this ``tokenizer.json``; and whether their tokens are the corpus's own."""

    tokenizer: Path
    keep: bool = False


@dataclass(frozen=True)
class TextSource:
    """What the configuration of a domain says about its files: the field with the text, and whose tokens they hold."""

    text_field: str = "text"
    token_files: TokenFiles | None = None


# Raises CorpusError or OSError. It is asked for the next block only when there is room for it.
Reader = Callable[[Path, TextSource], Iterator[Block]]


def longest_read() -> int:
    """One byte more than a document may have."""
    return LARGEST_DOCUMENT_BYTES + 1


def check_length(length: int, place: str) -> None:
    """Refuse a document of more than ``LARGEST_DOCUMENT_BYTES``.

    Raises:
        CorpusError: naming ``place``.
    """
    if length > LARGEST_DOCUMENT_BYTES:
        raise CorpusError(
            f"{place}: a document of more than {LARGEST_DOCUMENT_BYTES >> 20} MiB; cut it into smaller ones"
        )


def names(found: list[str]) -> str:
    """A list of field or column names for a message, however many there are."""
    shown = ", ".join(repr(name) for name in found[:12])
    return f"{shown} and {len(found) - 12} more" if len(found) > 12 else shown or "none"
