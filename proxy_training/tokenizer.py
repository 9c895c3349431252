"""What a tokeniser is: from the UTF-8 bytes of a document to token numbers. And the simplest one, bytes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
from jaxtyping import UInt

from proxy_training.errors import CorpusError

TOKENIZER_FILE = "tokenizer.json"


class Tokenizer(ABC):
    """Stateless once built, and sent to worker processes; tokens lie in 0 .. ``vocab_size - 1``.

    ``content`` is the ``tokenizer.json`` that a corpus of its tokens must carry.
    """

    name: str  # as the manifest says it
    vocab_size: int
    dtype: np.dtype  # little-endian, the smallest unsigned type that holds every token
    content: bytes | None = None

    @abstractmethod
    def encode(self, utf8: bytes) -> UInt[np.ndarray, " tokens"]:
        """The tokens of one document, of type ``dtype``.

        Raises:
            CorpusError: when it cannot be cut into tokens.
        """


class ByteTokenizer(Tokenizer):
    """A token is a byte, so that a loss per token is a loss per byte."""

    name = "bytes"
    vocab_size = 256
    dtype = np.dtype("<u1")

    def encode(self, utf8: bytes) -> UInt[np.ndarray, " tokens"]:
        return np.frombuffer(utf8, dtype=self.dtype)


def token_dtype(vocab_size: int) -> np.dtype:
    """The smallest unsigned type that holds ``vocab_size`` tokens.

    Raises:
        CorpusError: when none does.
    """
    for dtype in ("<u1", "<u2", "<u4"):
        if vocab_size <= 2 ** (8 * np.dtype(dtype).itemsize):
            return np.dtype(dtype)
    raise CorpusError(f"a vocabulary of {vocab_size} tokens cannot be stored; at most 4294967296 can")


def read_tokenizer_file(path: Path) -> bytes:
    """The bytes of the tokeniser file ``path``.

    Raises:
        CorpusError: when it cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError as exc:
        raise CorpusError(f"there is no tokeniser file {path}; name a tokenizer.json") from exc
    except OSError as exc:
        raise CorpusError(f"the tokeniser file {path} cannot be read: {exc.strerror}") from exc
