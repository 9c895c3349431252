"""Tokenisers: from the UTF-8 bytes of a document to token numbers.

A new tokeniser is one class and one line in ``TOKENIZERS``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from jaxtyping import UInt


class Tokenizer(ABC):
    """Stateless once built; tokens lie in 0 .. ``vocab_size - 1`` and are stored as ``dtype``."""

    name: ClassVar[str]  # as the configuration and the manifest say it
    vocab_size: int
    dtype: np.dtype  # little-endian, the smallest unsigned type that holds every token

    @abstractmethod
    def encode(self, utf8: bytes) -> UInt[np.ndarray, " tokens"]:
        """The tokens of one document, of type ``dtype``."""


class ByteTokenizer(Tokenizer):
    """A token is a byte, so that a loss per token is a loss per byte."""

    name = "bytes"
    vocab_size = 256
    dtype = np.dtype("<u1")

    def encode(self, utf8: bytes) -> UInt[np.ndarray, " tokens"]:
        return np.frombuffer(utf8, dtype=self.dtype)


TOKENIZERS: dict[str, type[Tokenizer]] = {cls.name: cls for cls in (ByteTokenizer,)}
