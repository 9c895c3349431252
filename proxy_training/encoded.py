"""Documents as a corpus stores them: hashed and cut into tokens. This is the work of a worker process."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, UInt

from proxy_training.readers import read_documents
from proxy_training.readers.base import Block
from proxy_training.tokenizer import Tokenizer

HASH_BYTES = 16


@dataclass(frozen=True)
class Encoded:
    """Documents in few arrays, so that they are quick to send. ``empty`` counts those that held no text.

    Args:
        digests: the hashes of the texts, one after another.
        token_counts: the tokens of every document, of which there is at least one.
        byte_counts: the UTF-8 bytes of every text.
        tokens: all tokens, one document after another.
    """

    digests: bytes
    token_counts: Int64[np.ndarray, " documents"]
    byte_counts: Int64[np.ndarray, " documents"]
    tokens: UInt[np.ndarray, " all_tokens"]
    empty: int


def digest_of(utf8: bytes) -> bytes:
    """The hash that decides everything about a document."""
    return hashlib.blake2b(utf8, digest_size=HASH_BYTES).digest()


def encode_blocks(tokenizer: Tokenizer, blocks: list[Block]) -> Encoded:
    """The documents of ``blocks``.

    Raises:
        CorpusError: when one of them is not text.
    """
    digests: list[bytes] = []
    parts: list[np.ndarray] = []
    byte_counts: list[int] = []
    empty = 0
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
    token_counts = np.array([len(part) for part in parts], np.int64)
    return Encoded(b"".join(digests), token_counts, np.array(byte_counts, np.int64), tokens, empty)
