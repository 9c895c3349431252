"""A Hugging Face ``tokenizer.json``: text to tokens and back, by the ``tokenizers`` library."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Integer, UInt

os.environ["TOKENIZERS_PARALLELISM"] = "false"  # builds have processes of their own; its threads would fight them
import tokenizers

from proxy_training.errors import CorpusError
from proxy_training.tokenizer import TOKENIZER_FILE, Tokenizer, read_tokenizer_file, token_dtype

# The library keeps about 50 bytes for every byte of a text that it encodes: longer documents go through in parts.
_PART_BYTES = 1 << 20


class JsonTokenizer(Tokenizer):
    """The tokeniser that the bytes of a ``tokenizer.json`` describe.

    No marks are added, nothing is truncated or padded, whatever the file says: the corpus has no separators.

    Raises:
        CorpusError: naming what ``content`` is called, when the library cannot read it.
    """

    name = TOKENIZER_FILE

    def __init__(self, content: bytes, called: str = TOKENIZER_FILE) -> None:
        self.content = content
        try:
            self._library = tokenizers.Tokenizer.from_buffer(content)
        except Exception as exc:  # the library raises nothing more precise
            raise CorpusError(f"{called} is no tokenizer.json that can be read: {exc}") from exc
        self._library.no_truncation()
        self._library.no_padding()
        numbers = self._library.get_vocab(with_added_tokens=True).values()
        self.vocab_size = max(numbers, default=-1) + 1  # numbers may have gaps
        if self.vocab_size < 2:
            raise CorpusError(f"{called} has a vocabulary of {self.vocab_size} tokens; a model needs at least 2")
        self.dtype = token_dtype(self.vocab_size)
        added = self._library.get_added_tokens_decoder()
        self._marks = np.array([number for number, token in added.items() if token.special], dtype=np.int64)

    def __reduce__(self) -> tuple[type[JsonTokenizer], tuple[bytes]]:
        assert self.content is not None
        return JsonTokenizer, (self.content,)

    def encode(self, utf8: bytes) -> UInt[np.ndarray, " tokens"]:
        """The tokens of one document; one of more than 1 MiB is cut into lines or words first."""
        try:
            parts = [self._encode(part) for part in _parts(utf8)]
        except Exception as exc:
            raise CorpusError(f"the tokeniser cannot cut a document into tokens: {exc}") from exc
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def decode(self, tokens: Integer[np.ndarray, " tokens"]) -> str:
        """The text of tokens that lie in the vocabulary."""
        return self._library.decode(tokens.tolist(), skip_special_tokens=False)

    def without_marks(self, tokens: Integer[np.ndarray, " tokens"]) -> Integer[np.ndarray, " tokens"]:
        """``tokens`` without the special ones at either end, which separate documents."""
        text = np.flatnonzero(~np.isin(tokens, self._marks))
        return tokens[text[0] : text[-1] + 1] if text.size else tokens[:0]

    def _encode(self, utf8: bytes) -> UInt[np.ndarray, " tokens"]:
        (encoding,) = self._library.encode_batch_fast([utf8.decode()], add_special_tokens=False)
        return np.array(encoding.ids, dtype=self.dtype)


def read_tokenizer(path: Path) -> JsonTokenizer:
    """The tokeniser in the file ``path``.

    Raises:
        CorpusError: when it cannot be read.
    """
    return JsonTokenizer(read_tokenizer_file(path), str(path))


def _parts(utf8: bytes) -> Iterator[bytes]:
    """Parts of at most ``_PART_BYTES``: whole lines, else whole words, else whole characters."""
    start = 0
    while len(utf8) - start > _PART_BYTES:
        limit = start + _PART_BYTES
        end = utf8.rfind(b"\n", start, limit) + 1 or utf8.rfind(b" ", start + 1, limit)
        if end <= start:
            end = limit
            while utf8[end] & 0xC0 == 0x80:  # the middle of a character
                end -= 1
        yield utf8[start:end]
        start = end
    yield utf8[start:]
