"""An opened corpus folder: windows of training tokens and validation documents, read as they are asked for."""

from __future__ import annotations

from pathlib import Path

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
from proxy_training.token_file import TokenFile


class Corpus:
    """A tokenised corpus; nothing of its files is held in memory."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest
        self._by_name = {domain.name: domain for domain in manifest.domains}
        self._opened: dict[str, TokenFile] = {}

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

    def train_windows(self, domain: str, starts: Int[np.ndarray, " n"], tokens: int) -> UInt[np.ndarray, "n tokens"]:
        """``tokens`` training tokens from each of ``starts`` on, of the domain's documents one after another.

        Raises:
            CorpusError: the shard has been cut short since it was opened, or cannot be read.
        """
        return self._tokens(self._domain(domain).train).windows(starts, tokens)

    def validation_documents(self, domain: str) -> ValidationDocuments:
        """Every validation document. Any first n of them are a fair sample.

        Raises:
            CorpusError: the shard or its index has been cut short since it was opened, or cannot be read.
        """
        split = self._domain(domain).validation
        return ValidationDocuments(self._tokens(split), self._index(split))

    def _domain(self, name: str) -> DomainManifest:
        if name not in self._by_name:
            raise CorpusError(f"the corpus {self.folder} has no domain {name!r}; it has {', '.join(self.domains)}")
        return self._by_name[name]

    def _tokens(self, split: Split) -> TokenFile:
        return self._open(split.shard, np.dtype(self.manifest.dtype).newbyteorder("<"))

    def _index(self, split: Split) -> Int[np.ndarray, "documents 3"]:
        numbers = self._open(split.index, np.dtype("<i8")).part(0, split.documents * INDEX_COLUMNS)
        return numbers.reshape(-1, INDEX_COLUMNS)

    def _open(self, file: ShardFile, dtype: np.dtype) -> TokenFile:
        if file.file not in self._opened:
            self._opened[file.file] = TokenFile(self.folder / file.file, file.bytes, dtype)
        return self._opened[file.file]


def beyond_vocabulary(corpus: Corpus, token: int) -> CorpusError:
    """A model would look such a token up in what belongs to another one."""
    return CorpusError(
        f"{corpus.folder} holds the token {token}, beyond its vocabulary of {corpus.vocab_size}; build the corpus again"
    )


class ValidationDocuments:
    """The tokens of every document, each read when it is asked for.

    Attributes:
        token_counts, byte_counts: tokens, and UTF-8 bytes, of every document.
    """

    def __init__(self, tokens: TokenFile, index: Int[np.ndarray, "documents 3"]) -> None:
        self._tokens = tokens
        self._firsts, self.token_counts, self.byte_counts = index.T

    def __len__(self) -> int:
        return len(self._firsts)

    def __getitem__(self, at: int) -> UInt[np.ndarray, " tokens"]:
        return self._tokens.part(int(self._firsts[at]), int(self.token_counts[at]))
