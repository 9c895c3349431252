"""Documents as a corpus stores them: hashed and cut into tokens. This is the work of a worker process."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt

from proxy_training.readers import read_documents
from proxy_training.readers.base import Block
from proxy_training.tokenizer import Tokenizer

HASH_BYTES = 16


class EncodedDocument(NamedTuple):
    """A document that is not empty: the hash of its text, its tokens and the UTF-8 bytes of its text."""

    digest: bytes
    tokens: UInt[np.ndarray, " tokens"]
    utf8_bytes: int


@dataclass(frozen=True)
class Encoded:
    """Several documents in few objects, so that they are quick to send. ``empty`` counts those that held no text."""

    digests: bytes
    token_counts: list[int]
    byte_counts: list[int]
    tokens: UInt[np.ndarray, " all_tokens"]
    empty: int

    def documents(self) -> Iterator[EncodedDocument]:
        """The documents in their order."""
        first = 0
        for number, (count, utf8_bytes) in enumerate(zip(self.token_counts, self.byte_counts, strict=True)):
            digest = self.digests[HASH_BYTES * number : HASH_BYTES * (number + 1)]
            yield EncodedDocument(digest, self.tokens[first : first + count], utf8_bytes)
            first += count


def digest_of(utf8: bytes) -> bytes:
    """The hash that decides everything about a document."""
    return hashlib.blake2b(utf8, digest_size=HASH_BYTES).digest()


def encode_blocks(tokenizer: Tokenizer, blocks: list[Block]) -> Encoded:
    """The documents of ``blocks``.

    Raises:
        CorpusError: when one of them is not text.
    """
    digests, parts, byte_counts, empty = [], [], [], 0
    for block in blocks:
        for utf8, own_tokens in read_documents(block):
            if not utf8 or utf8.isspace():
                empty += 1
                continue
            tokens = tokenizer.encode(utf8) if own_tokens is None else own_tokens.astype(tokenizer.dtype)
            if not len(tokens):  # a tokeniser may drop characters
                empty += 1
                continue
            digests.append(digest_of(utf8))
            parts.append(tokens)
            byte_counts.append(len(utf8))
    tokens = np.concatenate(parts) if len(parts) > 1 else parts[0] if parts else np.empty(0, tokenizer.dtype)
    return Encoded(b"".join(digests), [len(part) for part in parts], byte_counts, tokens, empty)
