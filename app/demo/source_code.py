"""Source code as text: Python's standard library, and the C++ headers inside the torch wheel."""

from __future__ import annotations

from pathlib import Path

from app.demo.packages import STANDARD_LIBRARY, Package, TextFile, list_files

PYTHON = Package(STANDARD_LIBRARY, "python", "")
TORCH = Package("torch", "torch", "agent")

# Tables of characters and a dictionary of help texts: data in the form of Python, not code that people write.
_PYTHON_DATA = ("encodings", "pydoc_data")
# Thousands of headers are printed from a template and differ in one name.
_GENERATED_MARK = "@generated"


def python_files() -> list[TextFile]:
    """Every module of the standard library but its tests."""
    return list_files(PYTHON, (".py",), skipped=_PYTHON_DATA)


def cpp_files() -> list[TextFile]:
    """Every C++ and CUDA header of the torch wheel."""
    return list_files(TORCH, (".h", ".hpp", ".cuh"), below="include")


def extract_code(path: Path) -> str:
    """The file as it is; empty when it was written by a generator or is not UTF-8."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""
    return "" if _GENERATED_MARK in text[:2000] else text
