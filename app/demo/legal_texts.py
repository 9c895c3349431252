"""Legal English: the texts of licences that ScanCode collects, without the record that stands before each."""

from __future__ import annotations

from pathlib import Path

from app.demo.packages import Package, TextFile, list_files

LICENCE_TEXTS = Package("licensedcode-data", "licensedcode", "demo")

_FENCE = "---\n"


def legal_files() -> list[TextFile]:
    """One file a licence."""
    return list_files(LICENCE_TEXTS, (".LICENSE",), below="data/licenses")


def extract_legal_text(path: Path) -> str:
    """What stands behind the record between two fences at the top of the file."""
    text = path.read_text(encoding="utf-8")
    if not text.startswith(_FENCE):
        return text
    _record, _fence, body = text.removeprefix(_FENCE).partition("\n" + _FENCE)
    return body
