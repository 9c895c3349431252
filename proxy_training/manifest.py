"""The manifest of a tokenised corpus: what is in the folder, to the byte.

A corpus folder holds ``manifest.json`` and, for every domain and split, two little-endian arrays:

    <nnn>-<domain>.<split>.tokens    the tokens of all documents, one after another, without separators
    <nnn>-<domain>.<split>.index     int64, shape (documents, 3): first token, tokens, UTF-8 bytes

The training index follows the order of the text. The validation index is ordered by document hash, so that its
first n documents are a fair sample of any n. A corpus of other tokens than bytes also holds their ``tokenizer.json``.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from proxy_training.errors import CorpusError
from proxy_training.spec import Record

FILE_NAME = "manifest.json"
FORMAT_VERSION = 1
INDEX_COLUMNS = 3
INDEX_ROW_BYTES = 8 * INDEX_COLUMNS

Sha256 = Field(pattern=r"^[0-9a-f]{64}$")


class ShardFile(Record):
    """One file of the corpus folder."""

    file: str = Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$")  # a plain name: never a way out of the folder
    bytes: int = Field(ge=0)
    sha256: str = Sha256


class Split(Record):
    """The training or the validation part of a domain; ``bytes`` counts its UTF-8 text."""

    documents: int = Field(ge=0)
    tokens: int = Field(ge=0)
    bytes: int = Field(ge=0)
    shard: ShardFile
    index: ShardFile

    @property
    def files(self) -> tuple[ShardFile, ShardFile]:
        return self.shard, self.index


class DomainManifest(Record):
    """One domain. Duplicates were copies of an earlier document of any domain; empty ones held white space only."""

    name: str = Field(min_length=1)
    source: str
    licence: str
    duplicates_dropped: int = Field(ge=0)
    empty_dropped: int = Field(ge=0)
    train: Split
    validation: Split

    @property
    def splits(self) -> tuple[Split, Split]:
        return self.train, self.validation


class Manifest(Record):
    """``corpus_hash`` names the content: the tokeniser, and the name and token arrays of every domain, in order.
    ``tokenizer_file`` is null for bytes.

    Where the text lay, when it was built and what the licence note says do not change what a model learns, and
    therefore do not change the hash.
    """

    format: Literal["mixwright-corpus"] = "mixwright-corpus"
    format_version: int = FORMAT_VERSION
    corpus_hash: str = Sha256
    tokenizer: str
    tokenizer_file: ShardFile | None = None
    vocab_size: int = Field(ge=2)
    dtype: Literal["uint8", "uint16", "uint32"]
    validation_fraction: float
    domains: tuple[DomainManifest, ...] = Field(min_length=1)


def corpus_hash(
    tokenizer: str,
    vocab_size: int,
    dtype: str,
    tokenizer_file: ShardFile | None,
    domains: tuple[DomainManifest, ...],
) -> str:
    """The hash that a proxy run names its data by; equal for equal content."""
    content = {
        "tokenizer": [tokenizer, vocab_size, dtype, *([tokenizer_file.sha256] if tokenizer_file else [])],
        "domains": [
            [
                domain.name,
                *(file.sha256 for split in (domain.train, domain.validation) for file in (split.shard, split.index)),
            ]
            for domain in domains
        ],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def other_tokenizer(vocab_size: int, folder: Path, manifest: Manifest) -> str:
    """What to add to the refusal of a corpus for models of ``vocab_size`` tokens, where the numbers of tokens tell
    that another tokenizer made it; empty where they are equal."""
    if manifest.vocab_size == vocab_size:
        return ""
    return (
        f"; it seems to be of another tokenizer: {folder} was made by {manifest.tokenizer} with "
        f"{manifest.vocab_size} tokens, the models are for {vocab_size}"
    )


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a corpus folder, checked against itself.

    Raises:
        CorpusError: when the folder is no corpus, or its manifest was changed or is of a newer version.
    """
    path = folder / FILE_NAME
    if not folder.is_dir():
        raise CorpusError(f"there is no corpus folder {folder}")
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError as exc:
        raise CorpusError(
            f"{folder} is not a corpus: it has no {FILE_NAME}; 'mixwright corpus build' makes one"
        ) from exc
    except OSError as exc:
        raise CorpusError(f"{path} cannot be read: {exc.strerror}") from exc
    except ValueError as exc:
        raise CorpusError(f"{path} is not JSON; build the corpus again") from exc
    version = data.get("format_version") if isinstance(data, dict) else None
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise CorpusError(f"{path} has format version {version}; this version of Mixwright reads {FORMAT_VERSION}")
    try:
        manifest = Manifest.model_validate(data)
    except ValidationError as exc:
        first = exc.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise CorpusError(f"{path} is damaged ({where}: {first['msg']}); build the corpus again") from exc
    content = corpus_hash(
        manifest.tokenizer, manifest.vocab_size, manifest.dtype, manifest.tokenizer_file, manifest.domains
    )
    if content != manifest.corpus_hash:
        raise CorpusError(f"{path} was changed: its corpus_hash is not that of its content; build the corpus again")
    return manifest
