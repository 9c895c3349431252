"""From text files to a corpus folder: tokenised, without exact duplicates, split by document hash.

One pass over the text. Memory holds one document, write buffers and the hash of every document (about 100 bytes
each in Python's set), however long the documents are. The hash decides everything about a document: a copy of an
earlier one is dropped, in whichever domain it stands, and the first 8 bytes say whether it goes to validation. So
training and validation share no document.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from proxy_training.corpus_config import CorpusConfig, DomainConfig
from proxy_training.documents import find_files, reader_for
from proxy_training.errors import CorpusError
from proxy_training.manifest import FILE_NAME, DomainManifest, Manifest, corpus_hash
from proxy_training.part_folder import part_folder
from proxy_training.shard_writer import ShardWriter
from proxy_training.tokenizer import TOKENIZERS, Tokenizer

_HASH_BYTES = 16
_SPLIT_BYTES = 8  # of the hash; the rest orders the validation documents, independently of the split
_REPORT_BYTES = 1 << 20


@dataclass(frozen=True)
class BuildProgress:
    """How far a build has come, counted in bytes of the files as they lie on disk."""

    domain: str
    read_bytes: int
    total_bytes: int


OnProgress = Callable[[BuildProgress], None]


def build_corpus(
    config: CorpusConfig, out: Path, overwrite: bool = False, on_progress: OnProgress | None = None
) -> Manifest:
    """Build the corpus that ``config`` describes as the folder ``out``, which appears whole or not at all.

    Args:
        overwrite: replace the corpus that stands at ``out``.
        on_progress: called at every domain's start, about every MiB of text, and after every file.

    Raises:
        CorpusError: naming the domain, file or line that is wrong, or why ``out`` cannot be written. It is then as
            it was.
    """
    out = out.resolve()  # a link stays a link: the folder that it names is made
    check_place(out, overwrite)
    tokenizer = TOKENIZERS[config.tokenizer]()
    files = [find_files(domain, config.folder) for domain in config.domains]
    meter = _Meter(sum(_size(path) for paths in files for path in paths), on_progress)
    try:
        with part_folder(out) as part:
            seen: set[bytes] = set()
            domains = tuple(
                _DomainBuild(number, domain, config, tokenizer, seen).run(paths, part.path, meter)
                for number, (domain, paths) in enumerate(zip(config.domains, files, strict=True))
            )
            manifest = _manifest(config, tokenizer, domains)
            _write_manifest(part.path / FILE_NAME, manifest)
            part.publish()
    except OSError as exc:  # what goes wrong with reading has become a CorpusError where it was read
        raise CorpusError(f"the corpus {out} cannot be written: {exc.strerror or exc}") from exc
    return manifest


def check_place(out: Path, overwrite: bool) -> None:
    """Refuse a place that a corpus must not be written to.

    Raises:
        CorpusError: saying what stands there.
    """
    above = next(folder for folder in out.parents if folder.exists())
    if not above.is_dir():
        raise CorpusError(f"{above} is a file; a corpus cannot stand below it")
    if not out.exists():
        return
    if not out.is_dir():
        raise CorpusError(f"{out} is a file; name a folder for the corpus")
    if not any(out.iterdir()):
        return
    if not (out / FILE_NAME).is_file():
        raise CorpusError(f"{out} holds other files and no corpus; name another folder")
    if not overwrite:
        raise CorpusError(f"{out} holds a corpus already; name another folder or say --overwrite")


class _Meter:
    """Counts the bytes of the finished files and reports about every MiB."""

    def __init__(self, total_bytes: int, on_progress: OnProgress | None) -> None:
        self._total_bytes = total_bytes
        self._on_progress = on_progress
        self._finished_bytes = 0

    def report(self, domain: str, position: int = 0) -> None:
        if self._on_progress is not None:
            read_bytes = min(self._finished_bytes + position, self._total_bytes)  # a file may grow while it is read
            self._on_progress(BuildProgress(domain, read_bytes, self._total_bytes))

    def file_finished(self, domain: str, size: int) -> None:
        self._finished_bytes += size
        self.report(domain)


@dataclass
class _DomainBuild:
    """One domain while it is built."""

    number: int
    domain: DomainConfig
    config: CorpusConfig
    tokenizer: Tokenizer
    seen: set[bytes]  # hashes of the documents of all domains so far
    duplicates: int = 0
    empty: int = 0
    validation_keys: list[bytes] = field(default_factory=list)
    first_train_hash: bytes = field(init=False)

    def __post_init__(self) -> None:
        # Hashes are uniform: those below the fraction of all numbers of 8 bytes are the fraction of the documents.
        limit = int(self.config.validation_fraction * 2 ** (8 * _SPLIT_BYTES))
        self.first_train_hash = limit.to_bytes(_SPLIT_BYTES, "big")

    def run(self, paths: list[Path], folder: Path, meter: _Meter) -> DomainManifest:
        """Write the shards of the domain and say what they hold."""
        name = self.domain.name
        meter.report(name)
        stem = f"{self.number:03d}-{re.sub(r'[^A-Za-z0-9]+', '-', name)[:40].strip('-') or 'domain'}"
        with ShardWriter(folder, f"{stem}.train") as train, ShardWriter(folder, f"{stem}.validation") as validation:
            for path in paths:
                for utf8 in _documents(path, name, meter):
                    self._add(utf8, train, validation)
            self._check_enough(train, validation)
            return DomainManifest(
                name=name,
                source=self.domain.source,
                licence=self.domain.licence,
                duplicates_dropped=self.duplicates,
                empty_dropped=self.empty,
                train=train.finish(),
                validation=validation.finish_ordered(self.validation_keys),
            )

    def _add(self, utf8: bytes, train: ShardWriter, validation: ShardWriter) -> None:
        if not utf8 or utf8.isspace():
            self.empty += 1
            return
        digest = hashlib.blake2b(utf8, digest_size=_HASH_BYTES).digest()
        if digest in self.seen:
            self.duplicates += 1
            return
        self.seen.add(digest)
        tokens = self.tokenizer.encode(utf8)
        if digest < self.first_train_hash:
            self.validation_keys.append(digest[_SPLIT_BYTES:])
            validation.add(tokens, len(utf8))
        else:
            train.add(tokens, len(utf8))

    def _check_enough(self, train: ShardWriter, validation: ShardWriter) -> None:
        """Every domain must be able to give one training sequence and one validation sequence."""
        name, wanted = self.domain.name, self.config.context + 1  # a sequence and the label of its last token
        documents = train.documents + validation.documents
        if documents == 0:
            raise CorpusError(
                f"domain {name!r} has no document left: {self.empty} were empty, "
                f"{self.duplicates} were copies of earlier documents"
            )
        if train.tokens + validation.tokens < wanted:
            raise CorpusError(
                f"domain {name!r} has only {train.tokens + validation.tokens} tokens; one sequence needs {wanted} "
                f"(the context of {self.config.context} and one label)"
            )
        if validation.longest_tokens < wanted:
            raise CorpusError(
                f"domain {name!r} has no validation document of {wanted} tokens or more: {validation.documents} of "
                f"its {documents} documents fell to validation; give it more documents (a plain text file is one "
                f"document, a JSONL line is one) or a larger validation_fraction"
            )
        if train.tokens < wanted:
            raise CorpusError(
                f"domain {name!r} has only {train.tokens} training tokens in {train.documents} documents where one "
                f"sequence needs {wanted}; give it more documents or a smaller validation_fraction"
            )


def _documents(path: Path, domain: str, meter: _Meter) -> Iterator[bytes]:
    """The documents of one file, with a report about every MiB."""
    try:
        with path.open("rb") as file:
            unreported = 0
            for utf8 in reader_for(path)(file, str(path)):
                yield utf8
                unreported += len(utf8)
                if unreported >= _REPORT_BYTES:
                    unreported = 0
                    meter.report(domain, file.tell())
            meter.file_finished(domain, file.tell())
    except OSError as exc:
        raise CorpusError(f"domain {domain!r}: {path} cannot be read: {exc.strerror}") from exc


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as exc:
        raise CorpusError(f"{path} cannot be read: {exc.strerror}") from exc


def _manifest(config: CorpusConfig, tokenizer: Tokenizer, domains: tuple[DomainManifest, ...]) -> Manifest:
    dtype = tokenizer.dtype.name
    return Manifest(
        corpus_hash=corpus_hash(tokenizer.name, tokenizer.vocab_size, dtype, domains),
        tokenizer=tokenizer.name,
        vocab_size=tokenizer.vocab_size,
        dtype=dtype,  # type: ignore[arg-type]  # pydantic checks the three names
        validation_fraction=config.validation_fraction,
        domains=domains,
    )


def _write_manifest(path: Path, manifest: Manifest) -> None:
    with path.open("x", encoding="utf-8") as file:
        file.write(json.dumps(manifest.model_dump(), indent=2, ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
