"""Documents as they lie on disk: which files a domain means, and the UTF-8 text of every document in them.

A new format is one reader and its suffixes in ``READERS``; every other file is read as plain text, one document a file.
"""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

from proxy_training.corpus_config import DomainConfig
from proxy_training.errors import CorpusError

# A document is held in memory as a whole, a few times over; this bounds what one can cost.
LARGEST_DOCUMENT_BYTES = 256 << 20

# Reads the documents of an open file; the name is for messages. Its caller may ask the file how far it has come.
Reader = Callable[[BinaryIO, str], Iterator[bytes]]


def find_files(domain: DomainConfig, folder: Path) -> list[Path]:
    """The files that ``domain`` means, each once, in an order that does not depend on the machine.

    Raises:
        CorpusError: for an entry that matches no file.
    """
    found: dict[Path, Path] = {}
    for entry in domain.files:
        for path in _matches(entry, folder, domain.name):
            found.setdefault(path.resolve(), path)
    return list(found.values())


def _matches(entry: str, folder: Path, domain: str) -> list[Path]:
    place = folder / entry
    if place.is_dir():
        files = sorted(_files_below(place))
        if not files:
            raise CorpusError(f"domain {domain!r}: the folder {place} holds no files (hidden ones do not count)")
        return files
    if place.exists():  # also a name that looks like a pattern, e.g. "notes[1].txt"
        if not place.is_file():
            raise CorpusError(f"domain {domain!r}: {place} is neither a file nor a folder")
        return [place]
    if not glob.has_magic(entry):
        raise CorpusError(f"domain {domain!r}: there is no file or folder {place}")
    names = sorted(glob.glob(entry, root_dir=folder, recursive=True))  # noqa: PTH207  pathlib's takes no absolute ones
    files = [folder / name for name in names if (folder / name).is_file()]
    if not files:
        raise CorpusError(f"domain {domain!r}: no file matches {entry!r} below {folder}")
    return files


def _files_below(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder, onerror=_refuse_folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(root, name)
            if not name.startswith(".") and path.is_file():
                yield path


def _refuse_folder(error: OSError) -> None:
    """``os.walk`` would leave out what it cannot read; a corpus with a hole must not pass for a whole one."""
    raise CorpusError(f"the folder {error.filename} cannot be read: {error.strerror}") from error


def reader_for(path: Path) -> Reader:
    """The reader of this kind of file."""
    return READERS.get(path.suffix.lower(), read_plain_text)


def read_jsonl(file: BinaryIO, name: str) -> Iterator[bytes]:
    """The ``text`` of every line of a JSON Lines file; blank lines do not count.

    Raises:
        CorpusError: naming file and line.
    """
    decode = json.JSONDecoder().decode
    lines = iter(partial(file.readline, LARGEST_DOCUMENT_BYTES + 1), b"")
    for number, line in enumerate(lines, start=1):
        if len(line) > LARGEST_DOCUMENT_BYTES:
            raise CorpusError(f"{name}, line {number}: {_too_long()}")
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if line.isspace():
            continue
        try:
            utf8 = decode(line.decode())["text"].encode()
        except (ValueError, RecursionError, TypeError, KeyError, AttributeError) as exc:
            raise CorpusError(f"{name}, line {number}: {_wrong_line(exc)}") from exc
        yield utf8


def _wrong_line(error: Exception) -> str:
    wanted = 'a line must be a JSON object {"text": "..."}'
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8 text; {wanted}"
    if isinstance(error, UnicodeEncodeError):
        return "the text holds half of a surrogate pair, which is not Unicode; write the whole character"
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON ({error.msg} at column {error.colno}); {wanted}"
    if isinstance(error, KeyError):
        return f"no 'text' in it; {wanted}"
    if isinstance(error, TypeError | AttributeError):
        return f"no object with a text in it; {wanted}"
    return f"JSON that cannot be read ({type(error).__name__}); {wanted}"


def read_plain_text(file: BinaryIO, name: str) -> Iterator[bytes]:
    """The whole file as one document.

    Raises:
        CorpusError: when it is not UTF-8 text.
    """
    data = file.read(LARGEST_DOCUMENT_BYTES + 1)
    if len(data) > LARGEST_DOCUMENT_BYTES:
        raise CorpusError(f"{name}: {_too_long()}")
    data = data.removeprefix(b"\xef\xbb\xbf")
    nul = data.find(b"\0")
    if nul >= 0:
        raise CorpusError(f"{name} is not text: byte {nul} is zero; {_ACCEPTED}")
    try:
        data.decode()
    except UnicodeDecodeError as exc:
        raise CorpusError(f"{name} is not text: byte {exc.start} is not UTF-8; {_ACCEPTED}") from exc
    yield data


def _too_long() -> str:
    return f"a document of more than {LARGEST_DOCUMENT_BYTES >> 20} MiB; cut it into JSONL, one document a line"


_ACCEPTED = "accepted are UTF-8 text files and JSON Lines (.jsonl, .ndjson)"

READERS: dict[str, Reader] = {".jsonl": read_jsonl, ".ndjson": read_jsonl}
