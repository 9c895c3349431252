"""Files for trainers, as commands are asked for them and write them, with the service and without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app import atomic_files
from app.attachments import safe_name
from app.option_texts import pairs
from mixers.errors import InvalidInput


@dataclass(frozen=True)
class FilesWish:
    """What ``--export`` and ``--export-option`` ask for, as it was typed."""

    format_name: str
    folder: Path
    options: dict[str, str]


def read_files_wish(export: str | None, options: Sequence[str] | None, known: Sequence[str] = ()) -> FilesWish | None:
    """The wish; None where nothing is asked for. ``known`` are the formats, where they are known here.

    Raises:
        InvalidInput: naming the option. OSError: a folder that cannot be written to.
    """
    if export is None:
        if options:
            raise InvalidInput("--export-option needs --export FORMAT:FOLDER")
        return None
    name, _, folder = export.partition(":")
    if not name or not folder or (known and name not in known):
        hint = f", with a format of {', '.join(known)}" if known else ""
        raise InvalidInput(f"--export is {export!r}; write FORMAT:FOLDER{hint}")
    check_folder(Path(folder))
    return FilesWish(name, Path(folder), pairs("--export-option", options))


def check_folder(folder: Path) -> None:
    """Refuse a place that files cannot be written to, before the work that they are for.

    Raises:
        OSError: naming the place.
    """
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file; name a folder")
    if not folder.exists():
        atomic_files.check_writable(folder)


def write_files(folder: Path, files: Sequence[tuple[str, str]]) -> list[Path]:
    """Write (name, text) into ``folder``, none before all can be written; files that were there are replaced.

    Raises:
        OSError: a file could not be written.
    """
    folder.mkdir(exist_ok=True)
    paths = [folder / safe_name(name) for name, _ in files]
    for path in paths:
        atomic_files.check_writable(path)
    for path, (_, text) in zip(paths, files, strict=True):
        atomic_files.write_text(path, text)
    return paths
