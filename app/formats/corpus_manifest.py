"""What the manifest of a tokenised corpus says to those who choose mixtures; the shards stay unopened."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from app.formats.errors import FormatError
from mixers.types import Domains

FILE_NAME = "manifest.json"


@dataclass(frozen=True)
class CorpusDomain:
    """One domain of a corpus; tokens and documents are those of its training part."""

    name: str
    tokens: int
    documents: int
    source: str
    licence: str


@dataclass(frozen=True)
class CorpusSummary:
    """A corpus as far as its manifest tells. Proxy runs name it by ``corpus_hash``."""

    folder: Path
    corpus_hash: str
    vocab_size: int
    domains: tuple[CorpusDomain, ...]

    @property
    def domain_set(self) -> Domains:
        """Its domains with what is available of each; the natural mixture follows from that."""
        tokens = np.array([domain.tokens for domain in self.domains], dtype=float)
        return Domains(tuple(domain.name for domain in self.domains), tokens, tokens)


def read_corpus(folder: Path) -> CorpusSummary:
    """The summary of a corpus folder.

    Raises:
        FormatError: the folder is none, or its manifest is damaged.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        raise FormatError(f"{folder} is no corpus folder: it has no {FILE_NAME}; 'mixwright corpus build' makes one")
    try:
        manifest = json.loads(path.read_bytes())
        domains = tuple(_domain(domain) for domain in manifest["domains"])
        return CorpusSummary(folder, str(manifest["corpus_hash"]), int(manifest["vocab_size"]), domains)
    except (ValueError, KeyError, TypeError) as exc:
        raise FormatError(f"{path} is damaged; build the corpus again") from exc


def _domain(domain: dict[str, Any]) -> CorpusDomain:
    train = domain["train"]
    return CorpusDomain(
        str(domain["name"]),
        int(train["tokens"]),
        int(train["documents"]),
        str(domain["source"]),
        str(domain["licence"]),
    )
