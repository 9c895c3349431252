"""Uploaded files on their way to a reader: named safely, unpacked from archives, bounded in size and number."""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from app.formats.errors import FormatError

MAX_FILES = 1000
_CHUNK_BYTES = 2**20
# What file managers add to archives.
_CLUTTER = ("__MACOSX/", ".DS_Store", "Thumbs.db")


@dataclass(frozen=True)
class Upload:
    """A file as a caller sent it."""

    name: str
    file: IO[bytes]


def gather(uploads: Iterable[Upload], folder: Path, max_bytes: int) -> dict[str, Path]:
    """Write the uploads to ``folder``, archives unpacked; the relative name of each file and where it lies.

    Args:
        max_bytes: for all of them together, unpacked.

    Raises:
        FormatError: a name that leaves the folder or stands twice, or too many bytes or files.
    """
    gathered = _Gathered(folder, max_bytes)
    for upload in uploads:
        if upload.name.lower().endswith(".zip"):
            _unpack(upload, gathered)
        else:
            gathered.add(_safe(upload.name, "the upload"), upload.file)
    if not gathered.files:
        raise FormatError("there is no file; send each as a part named 'files'")
    return gathered.files


class _Gathered:
    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.files: dict[str, Path] = {}
        self._folder, self._max_bytes, self._left = folder, max_bytes, max_bytes

    def add(self, name: str, file: IO[bytes]) -> None:
        if name in self.files:
            raise FormatError(f"{name}: two files have this name; names must differ")
        if len(self.files) >= MAX_FILES:
            raise FormatError(f"there are more than {MAX_FILES} files; import them in several parts")
        path = self._folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as target:
                while chunk := file.read(min(_CHUNK_BYTES, self._left + 1)):
                    self._left -= len(chunk)
                    if self._left < 0:
                        raise FormatError(f"{name}: the files hold more than {self._max_bytes} bytes, unpacked")
                    target.write(chunk)
        except (NotADirectoryError, FileExistsError, IsADirectoryError):
            raise FormatError(f"{name}: another file or folder has this name") from None
        self.files[name] = path


class _ReadInParts:
    """An archive that is not read in large pieces: the list of its files is, and may be larger than the files."""

    def __init__(self, upload: Upload) -> None:
        self._upload = upload
        self.seek, self.tell, self.seekable = upload.file.seek, upload.file.tell, upload.file.seekable

    def read(self, size: int = -1) -> bytes:
        part = self._upload.file.read(size if 0 <= size <= _CHUNK_BYTES else _CHUNK_BYTES + 1)
        if len(part) > _CHUNK_BYTES:
            raise FormatError(f"{self._upload.name}: the archive lists more files than an import may have")
        return part


def _unpack(upload: Upload, gathered: _Gathered) -> None:
    try:
        with zipfile.ZipFile(_ReadInParts(upload)) as archive:  # type: ignore[arg-type]  # what it needs of a file
            for entry in archive.infolist():
                if entry.is_dir() or entry.filename.startswith(_CLUTTER) or entry.filename.endswith(_CLUTTER):
                    continue
                name = _safe(entry.filename, upload.name)
                if stat.S_ISLNK(entry.external_attr >> 16):
                    raise FormatError(f"{upload.name}: {name} is a link; an archive may hold plain files only")
                if entry.flag_bits & 0x1:
                    raise FormatError(f"{upload.name}: {name} is encrypted; pack it without a password")
                with archive.open(entry) as file:
                    gathered.add(name, file)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OverflowError, zipfile.LargeZipFile) as error:
        raise FormatError(f"{upload.name}: the archive cannot be read: {error}") from None
    except Exception as error:
        # A damaged stream surfaces as the error of whatever decompressor it was packed with.
        if type(error).__module__ in ("zlib", "lzma", "_lzma", "bz2", "_bz2", "_compression"):
            raise FormatError(f"{upload.name}: the archive is damaged: {error}") from None
        raise


def _safe(name: str, where: str) -> str:
    """``name`` as a relative path that cannot leave its folder."""
    path = PurePosixPath(name.replace("\\", "/"))
    parts = path.parts
    if (
        not parts
        or path.is_absolute()
        or len(parts) > 10
        or any(part in ("..", ".") or ":" in part or len(part.encode(errors="replace")) > 200 for part in parts)
        or not name.isprintable()
    ):
        raise FormatError(f"{where}: {name[:100]!r} is no relative name of a file; '..' is not accepted")
    return "/".join(parts)


def only(files: Mapping[str, Path], name: str) -> tuple[str, Path] | None:
    """The one file called ``name``, in whatever folder; None when there is none.

    Raises:
        FormatError: there are several.
    """
    found = [(each, path) for each, path in files.items() if PurePosixPath(each).name.lower() == name]
    if len(found) > 1:
        raise FormatError(
            f"there are several files called {name}: {', '.join(each for each, _ in found[:5])}; send one"
        )
    return found[0] if found else None
