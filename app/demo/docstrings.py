"""Scientific documentation: docstrings of numpy, scipy and scikit-learn, read from the syntax tree."""

from __future__ import annotations

import ast
from pathlib import Path

from app.demo.packages import Package, TextFile, list_files

PACKAGES = (
    Package("numpy", "numpy", ""),
    Package("scipy", "scipy", ""),
    Package("scikit-learn", "sklearn", ""),
)

_HOLDERS = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def science_files() -> list[TextFile]:
    """Every module of the packages but their tests and their copies of other packages."""
    return [file for package in PACKAGES for file in list_files(package, (".py",), skipped=("_vendor", "externals"))]


def extract_docstrings(path: Path) -> str:
    """The docstrings of a module, its classes and functions, from top to bottom."""
    text = path.read_text(encoding="utf-8")
    if '"""' not in text:
        return ""
    found = (ast.get_docstring(node) for node in ast.walk(ast.parse(text)) if isinstance(node, _HOLDERS))
    return "\n\n".join(docstring for docstring in found if docstring)
