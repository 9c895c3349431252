"""The text that a tokeniser is trained on: the same share of every domain, spread over its files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from proxy_training.domain_files import DomainFiles
from proxy_training.encoded import digest_of
from proxy_training.readers import read_blocks, read_documents
from proxy_training.readers.base import TextSource


def training_sample(domains: list[DomainFiles], first_train_hash: bytes, sample_bytes: int) -> Iterator[str]:
    """About ``sample_bytes`` of training documents, or all where a domain has less than its share.

    A file gives its beginning, in proportion to its size, so that no more is read than is used.

    Args:
        first_train_hash: a document of a smaller hash is for validation.

    Raises:
        CorpusError: when a file is not what it must be.
    """
    share = sample_bytes / len(domains)
    for domain in domains:
        domain_bytes, passed, given = sum(domain.sizes), 0, 0
        for path, size in zip(domain.paths, domain.sizes, strict=True):
            passed += size
            quota = share * passed / max(domain_bytes, 1)
            if given >= quota:
                continue
            for utf8 in _training_documents(path, domain.source, first_train_hash):
                given += len(utf8)
                yield utf8.decode()
                if given >= quota:
                    break


def _training_documents(path: Path, source: TextSource, first_train_hash: bytes) -> Iterator[bytes]:
    for block in read_blocks(path, source):
        for utf8, _ in read_documents(block):
            if digest_of(utf8) >= first_train_hash:
                yield utf8
