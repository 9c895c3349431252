"""Which files a domain means: paths, folders, globs, saved data sets and Megatron's prefixes."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterator
from pathlib import Path

from proxy_training.corpus_config import DomainConfig
from proxy_training.errors import CorpusError

# What `save_to_disk` of Hugging Face datasets writes beside the Arrow files.
_DATASET_FILES = ("state.json", "dataset_info.json")
_DATASET_DICT_FILE = "dataset_dict.json"


def find_files(domain: DomainConfig, folder: Path) -> list[Path]:
    """The files that ``domain`` means, each once, in an order that does not depend on the machine.

    Raises:
        CorpusError: for an entry that matches no file.
    """
    found: dict[Path, Path] = {}
    for entry in domain.files:
        for path in _matches(entry, folder, domain.name):
            path = _tokens_of(path)
            found.setdefault(path.resolve(), path)
    return list(found.values())


def _tokens_of(path: Path) -> Path:
    """Of Megatron's two files the one with the tokens, which stands for both."""
    return path.with_suffix(".bin") if path.suffix == ".idx" else path


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
    prefixed = place.with_name(f"{place.name}.bin")
    if prefixed.is_file():  # Megatron names its data without a suffix
        return [prefixed]
    if not glob.has_magic(entry):
        raise CorpusError(f"domain {domain!r}: there is no file or folder {place}")
    names = sorted(glob.glob(entry, root_dir=folder, recursive=True))  # noqa: PTH207  pathlib's takes no absolute ones
    files = [folder / name for name in names if (folder / name).is_file() and not _describes_dataset(folder / name)]
    if not files:
        raise CorpusError(f"domain {domain!r}: no file matches {entry!r} below {folder}")
    return files


def _files_below(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder, onerror=_refuse_folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if _DATASET_DICT_FILE in names:
            raise CorpusError(
                f"{root} holds the splits {', '.join(sorted(folders))} of a data set; name the one to read, "
                f"e.g. {Path(root, sorted(folders)[0]) if folders else root}"
            )
        if all(name in names for name in _DATASET_FILES):
            folders.clear()
            yield from _dataset_files(Path(root))
            continue
        for name in names:
            path = Path(root, name)
            if not name.startswith(".") and path.is_file():
                yield path


def _dataset_files(folder: Path) -> list[Path]:
    """The Arrow files of a data set that Hugging Face ``datasets`` has saved."""
    state = folder / _DATASET_FILES[0]
    try:
        names = [file["filename"] for file in json.loads(state.read_bytes())["_data_files"]]
        files = [folder / Path(name).name for name in names]
    except OSError as exc:
        raise CorpusError(f"{state} cannot be read: {exc.strerror}") from exc
    except (ValueError, KeyError, TypeError) as exc:
        raise CorpusError(f"{state} does not say which files the data set has; save it again") from exc
    for path in files:
        if not path.is_file():
            raise CorpusError(f"there is no {path}, which {state.name} beside it names; save the data set again")
    return files


def _describes_dataset(path: Path) -> bool:
    """Whether ``path`` only says what lies beside it in a saved data set."""
    return path.name in _DATASET_FILES and all((path.parent / name).is_file() for name in _DATASET_FILES)


def _refuse_folder(error: OSError) -> None:
    """``os.walk`` would leave out what it cannot read; a corpus with a hole must not pass for a whole one."""
    raise CorpusError(f"the folder {error.filename} cannot be read: {error.strerror}") from error
