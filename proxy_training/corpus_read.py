"""An opened corpus folder: token arrays as memory maps, documents as views into them."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from pathlib import Path
from typing import overload

import numpy as np
from jaxtyping import Int, UInt

from proxy_training.corpus_check import check_files
from proxy_training.errors import CorpusError
from proxy_training.manifest import (
    INDEX_COLUMNS,
    DomainManifest,
    Manifest,
    ShardFile,
    Split,
    read_manifest,
)


class Corpus:
    """A tokenised corpus; nothing is read until it is asked for, and then by the page."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest
        self._by_name = {domain.name: domain for domain in manifest.domains}
        self._maps: dict[str, mmap.mmap] = {}

    @classmethod
    def open(cls, folder: Path, verify: bool = False) -> Corpus:
        """Open the corpus in ``folder``. Sizes and the tokeniser are always checked; with ``verify`` every byte.

        Raises:
            CorpusError: naming the files that are missing, cut short, changed or of another tokeniser.
        """
        manifest = read_manifest(folder)
        check_files(folder, manifest, verify)
        return cls(folder, manifest)

    @property
    def corpus_hash(self) -> str:
        return self.manifest.corpus_hash

    @property
    def tokenizer(self) -> str:
        return self.manifest.tokenizer

    @property
    def vocab_size(self) -> int:
        return self.manifest.vocab_size

    @property
    def domains(self) -> tuple[str, ...]:
        return tuple(self._by_name)

    def train_tokens(self, domain: str) -> int:
        return self._domain(domain).train.tokens

    def bytes_per_token(self, domain: str) -> float:
        """UTF-8 bytes of text a token, over the training part; 1 for the byte tokeniser."""
        train = self._domain(domain).train
        return train.bytes / train.tokens

    def train_array(self, domain: str) -> UInt[np.ndarray, " tokens"]:
        """All training tokens, documents one after another; read-only, mapped from the disk."""
        return self._tokens(self._domain(domain).train)

    def validation_documents(self, domain: str) -> Sequence[UInt[np.ndarray, " tokens"]]:
        """The tokens of every validation document. Any first n of them are a fair sample."""
        split = self._domain(domain).validation
        self.check_opened()
        return _Documents(self._tokens(split), self._index(split))

    def validation_bytes(self, domain: str) -> Sequence[int]:
        """The UTF-8 bytes of every validation document, in the same order."""
        return self._index(self._domain(domain).validation)[:, 2].tolist()

    def check_opened(self) -> None:
        """Look again at the sizes of all opened files.

        Reading a map beyond the end of its file kills the process (SIGBUS). A file that is cut short in the moment
        between this look and the reading still does.

        Raises:
            CorpusError: a file has been cut short since it was opened.
        """
        for name, mapped in self._maps.items():
            if (size := mapped.size()) < len(mapped):
                raise CorpusError(
                    f"{self.folder / name} was cut short while it was in use, from {len(mapped)} bytes to {size}; "
                    "build the corpus again"
                )

    def _domain(self, name: str) -> DomainManifest:
        if name not in self._by_name:
            raise CorpusError(f"the corpus {self.folder} has no domain {name!r}; it has {', '.join(self.domains)}")
        return self._by_name[name]

    def _tokens(self, split: Split) -> UInt[np.ndarray, " tokens"]:
        return self._map(split.shard, np.dtype(self.manifest.dtype).newbyteorder("<"))

    def _index(self, split: Split) -> Int[np.ndarray, "documents 3"]:
        return self._map(split.index, np.dtype("<i8")).reshape(-1, INDEX_COLUMNS)

    def _map(self, file: ShardFile, dtype: np.dtype) -> np.ndarray:
        if file.file not in self._maps:
            try:
                with (self.folder / file.file).open("rb") as stream:  # as long as the manifest says, or a ValueError
                    self._maps[file.file] = mmap.mmap(stream.fileno(), file.bytes, access=mmap.ACCESS_READ)
            except (OSError, ValueError) as exc:
                raise CorpusError(f"{self.folder / file.file} cannot be read: {exc}") from exc
        return np.frombuffer(self._maps[file.file], dtype=dtype)


def beyond_vocabulary(corpus: Corpus, token: int) -> CorpusError:
    """A model would look such a token up in what belongs to another one."""
    return CorpusError(
        f"{corpus.folder} holds the token {token}, beyond its vocabulary of {corpus.vocab_size}; build the corpus again"
    )


class _Documents(Sequence[np.ndarray]):
    """Documents as views of one token array."""

    def __init__(self, tokens: np.ndarray, index: np.ndarray) -> None:
        self._tokens = tokens
        self._index = index

    def __len__(self) -> int:
        return len(self._index)

    @overload
    def __getitem__(self, at: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, at: slice) -> _Documents: ...
    def __getitem__(self, at: int | slice) -> np.ndarray | _Documents:
        if isinstance(at, slice):
            return _Documents(self._tokens, self._index[at])
        first, tokens, _ = self._index[at].tolist()
        return self._tokens[first : first + tokens]
