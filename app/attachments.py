"""Text files as one download: a single file as it is, several as an archive whose bytes depend on nothing else."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

# The earliest time that the format knows: an archive of the same files is the same archive.
_NO_TIME = (1980, 1, 1, 0, 0, 0)
_JSON, _CSV, _PLAIN, _ZIP = "application/json", "text/csv", "text/plain", "application/zip"
_BY_SUFFIX = {".json": _JSON, ".csv": _CSV}
# Every type of a download; text is UTF-8.
MEDIA_TYPES = (_JSON, _CSV, _PLAIN, _ZIP)


@dataclass(frozen=True)
class Attachment:
    """What a browser saves under ``filename``."""

    filename: str
    media_type: str
    content: bytes


def attachment_of(stem: str, files: Sequence[tuple[str, str]]) -> Attachment:
    """One download of files (name, text); ``stem`` names the archive where there are several."""
    if len(files) == 1:
        ((name, text),) = files
        return Attachment(safe_name(name), _BY_SUFFIX.get(PurePosixPath(name).suffix, _PLAIN), text.encode())
    return Attachment(f"{safe_name(stem)}.zip", _ZIP, _archive(files))


def safe_name(name: str) -> str:
    """A name that is safe in a header and as a file: letters, digits, ``.``, ``_`` and ``-``, no leading dot."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).lstrip(".") or "file"


def _archive(files: Sequence[tuple[str, str]]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files:
            entry = zipfile.ZipInfo(safe_name(name), _NO_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, also where the archive is made on Windows
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, text)
    return buffer.getvalue()
