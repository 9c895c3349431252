"""Whether the files of a corpus folder are those that its manifest describes, and which are not."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from proxy_training.errors import CorpusError
from proxy_training.manifest import INDEX_ROW_BYTES, Manifest, ShardFile

_ADVICE = "build the corpus again"
_MOST_NAMED = 5
_READ_TOKENS = 1 << 20


def check_files(folder: Path, manifest: Manifest, verify: bool) -> None:
    """Check sizes and the tokeniser, and with ``verify`` every byte of every file.

    Raises:
        CorpusError: naming the files that are missing, cut short, changed or of another tokeniser.
    """
    wrong = [*_wrong_tokenizer(folder, manifest), *_wrong_shards(folder, manifest, verify)]
    if len(wrong) > _MOST_NAMED:
        wrong[_MOST_NAMED:] = [f"{len(wrong) - _MOST_NAMED} more files are damaged"]
    if wrong:
        raise CorpusError(f"{'; '.join(wrong)}; {_ADVICE}")


def _wrong_tokenizer(folder: Path, manifest: Manifest) -> Iterator[str]:
    file = manifest.tokenizer_file
    if file is None:
        return
    found = _sha256(folder / file.file)
    if found != file.sha256:
        yield (
            f"{folder / file.file} is another tokeniser than the corpus was built with: its checksum begins with "
            f"{found[:12]}, the manifest's with {file.sha256[:12]}"
        )


def _wrong_shards(folder: Path, manifest: Manifest, verify: bool) -> Iterator[str]:
    dtype = np.dtype(manifest.dtype).newbyteorder("<")
    for domain in manifest.domains:
        for split in domain.splits:
            sizes = (split.tokens * dtype.itemsize, split.documents * INDEX_ROW_BYTES)
            for file, size in zip(split.files, sizes, strict=True):
                sentence = _wrong_size(folder / file.file, file, size)
                if sentence is None and verify and _sha256(folder / file.file) != file.sha256:
                    beyond = (
                        _token_beyond(folder / file.file, dtype, manifest.vocab_size) if file is split.shard else None
                    )
                    sentence = _changed(folder / file.file, beyond, manifest.vocab_size)
                if sentence is not None:
                    yield sentence


def _wrong_size(path: Path, file: ShardFile, size: int) -> str | None:
    try:
        found = path.stat().st_size
    except FileNotFoundError:
        return f"{path} is missing"
    except OSError as exc:
        return f"{path} cannot be read: {exc.strerror}"
    return None if found == file.bytes == size else f"{path} has {found} bytes where the manifest means {size}"


def _changed(path: Path, beyond: int | None, vocab_size: int) -> str:
    if beyond is not None:
        return f"{path} is of another tokeniser: it holds token {beyond} of a vocabulary of {vocab_size}"
    return f"{path} was changed: its checksum is not that of the manifest"


def _token_beyond(path: Path, dtype: np.dtype, vocab_size: int) -> int | None:
    """A token that the vocabulary does not have, if there is one."""
    with path.open("rb") as file:
        while (tokens := np.frombuffer(file.read(_READ_TOKENS * dtype.itemsize), dtype)).size:
            if tokens.max() >= vocab_size:
                return int(tokens.max())
    return None


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError as exc:
        raise CorpusError(f"{path} is missing; {_ADVICE}") from exc
    except OSError as exc:
        raise CorpusError(f"{path} cannot be read: {exc.strerror}") from exc
