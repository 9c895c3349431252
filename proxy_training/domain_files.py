"""The files of every domain of a corpus that is to be built: found, measured, and how they are read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from proxy_training.corpus_config import CorpusConfig, DomainConfig
from proxy_training.documents import find_files
from proxy_training.errors import CorpusError
from proxy_training.readers.base import TextSource, TokenFiles
from proxy_training.tokenizer import Tokenizer, read_tokenizer_file
from proxy_training.tokenizer_choice import TokenizerFile


@dataclass(frozen=True)
class DomainFiles:
    """One domain.

    Args:
        sizes: bytes of every file as it lies on the disk.
        first_byte: all bytes of the domains before it.
    """

    domain: DomainConfig
    source: TextSource
    paths: list[Path]
    sizes: list[int]
    first_byte: int

    @property
    def last_byte(self) -> int:
        return self.first_byte + sum(self.sizes)

    def for_corpus_of(self, tokenizer: Tokenizer) -> DomainFiles:
        """The same files, whose tokens are kept as they are when ``tokenizer`` has made them."""
        tokens = self.source.token_files
        if tokens is None or read_tokenizer_file(tokens.tokenizer) != tokenizer.content:
            return self
        return replace(self, source=replace(self.source, token_files=replace(tokens, keep=True)))


def find_domains(config: CorpusConfig) -> list[DomainFiles]:
    """The domains of ``config`` in their order.

    Raises:
        CorpusError: for an entry that matches no file, or a file that cannot be read.
    """
    found: list[DomainFiles] = []
    for domain in config.domains:
        paths = find_files(domain, config.folder)
        source = TextSource(domain.text_field, _token_files(domain, config))
        first_byte = found[-1].last_byte if found else 0
        found.append(DomainFiles(domain, source, paths, [_size(path) for path in paths], first_byte))
    return found


def _token_files(domain: DomainConfig, config: CorpusConfig) -> TokenFiles | None:
    if domain.megatron_tokenizer is not None:
        return TokenFiles(config.folder / domain.megatron_tokenizer)
    if isinstance(config.tokenizer, TokenizerFile):
        return TokenFiles(config.folder / config.tokenizer.path)
    return None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as exc:
        raise CorpusError(f"{path} cannot be read: {exc.strerror}") from exc
