"""From text files to a corpus folder: tokenised, without exact duplicates, split by document hash.

One pass over the text; a tokeniser that is trained here reads the beginnings of the files before. Worker processes
parse and tokenise, this one finds copies and writes, in the order of the text, so that their number changes nothing.
Memory holds a few blocks of text a worker, write buffers and the hash of every document (about 100 bytes each in
Python's set), however much text there is. The hash decides everything about a document: a copy of an earlier one is
dropped, in whichever domain it stands, and the first 8 bytes say whether it goes to validation. So training and
validation share no document.
"""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path

from proxy_training.build_progress import Meter, OnProgress
from proxy_training.corpus_config import CorpusConfig
from proxy_training.domain_build import DomainBuild, first_train_hash
from proxy_training.domain_files import find_domains
from proxy_training.encoded import encode_blocks
from proxy_training.errors import CorpusError
from proxy_training.manifest import FILE_NAME, DomainManifest, Manifest, ShardFile, corpus_hash
from proxy_training.part_folder import part_folder
from proxy_training.shard_writer import HashedFile
from proxy_training.tokenizer import TOKENIZER_FILE, Tokenizer
from proxy_training.training_sample import training_sample
from proxy_training.worker_pool import ordered_map

_BYTES_A_PROCESS = 4 << 20  # starting one takes about as long as reading this much


def build_corpus(
    config: CorpusConfig,
    out: Path,
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
    processes: int = 1,
) -> Manifest:
    """Build the corpus that ``config`` describes as the folder ``out``, which appears whole or not at all.

    Args:
        overwrite: replace the corpus that stands at ``out``.
        on_progress: called at the start and end of every domain, and about every 256 KiB of text.
        processes: how many parse and tokenise; fewer when the text is too small to be worth it. The corpus does not
            depend on it, to the byte.

    Raises:
        CorpusError: naming the domain, file or line that is wrong, or why ``out`` cannot be written. It is then as
            it was.
    """
    out = out.resolve()  # a link stays a link: the folder that it names is made
    check_place(out, overwrite)
    files = find_domains(config)
    all_bytes = files[-1].last_byte
    meter = Meter(all_bytes, on_progress)
    split = first_train_hash(config.validation_fraction)
    tokenizer = config.tokenizer.make(config.folder, partial(training_sample, files, split))
    files = [domain.for_corpus_of(tokenizer) for domain in files]
    useful = max(1, min(processes, all_bytes // _BYTES_A_PROCESS))
    try:
        with part_folder(out) as part, ordered_map(partial(encode_blocks, tokenizer), useful) as encode:
            tokenizer_file = _write_tokenizer(part.path, tokenizer)
            seen: set[bytes] = set()
            domains = tuple(
                DomainBuild(domain, number, split, config.context, seen).run(part.path, meter, encode)
                for number, domain in enumerate(files)
            )
            manifest = _manifest(config, tokenizer, tokenizer_file, domains)
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


def _write_tokenizer(folder: Path, tokenizer: Tokenizer) -> ShardFile | None:
    """Put the tokeniser's file, when it has one, into the corpus."""
    if tokenizer.content is None:
        return None
    file = HashedFile(folder / TOKENIZER_FILE)
    try:
        file.write(tokenizer.content)
        return file.finish()
    finally:
        file.close()


def _manifest(
    config: CorpusConfig, tokenizer: Tokenizer, tokenizer_file: ShardFile | None, domains: tuple[DomainManifest, ...]
) -> Manifest:
    dtype = tokenizer.dtype.name
    return Manifest(
        corpus_hash=corpus_hash(tokenizer.name, tokenizer.vocab_size, dtype, tokenizer_file, domains),
        tokenizer=tokenizer.name,
        tokenizer_file=tokenizer_file,
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
