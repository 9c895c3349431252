"""The licence of an installed package, as an SPDX expression, and where it was read.

Order of trust: the ``License-Expression`` field (PEP 639), a ``License`` field that is one identifier, an SPDX tag
in the package's notice files, and last the licence text itself, recognised by sentences that only it has.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.demo.packages import STANDARD_LIBRARY, Package

# SPDX: "no assertion": the licence could not be told from what the package carries.
UNKNOWN = "NOASSERTION"

_IDENTIFIERS = {"apache-2.0": "Apache-2.0", "mit": "MIT", "bsd-3-clause": "BSD-3-Clause", "psf-2.0": "PSF-2.0"}

# Every phrase must stand in the text. White space is ignored: the texts are wrapped differently everywhere.
_PHRASES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("PSF-2.0", ("python software foundation license version 2",)),
    ("PSF-2.0", ("https://www.python.org/psf/license/",)),
    ("Apache-2.0", ("apache license", "version 2.0, january 2004")),
    ("BSD-3-Clause", ("redistributions in binary form must reproduce", "neither the name")),
    ("BSD-2-Clause", ("redistributions in binary form must reproduce",)),
    ("MIT", ("permission is hereby granted, free of charge", "the above copyright notice and this permission")),
)
_TAG = re.compile(r"(?:SPDX-License-Identifier|license_expression)\s*:\s*([A-Za-z0-9.\-+() ]+?)\s*$", re.MULTILINE)

# The data inside this wheel has another licence than its tools; the file beside the data is the one that counts.
_NOTICE_FILES = {"licensedcode-data": ("data/scancode-data.ABOUT",)}


@dataclass(frozen=True)
class Licence:
    """An SPDX expression and the file that says so."""

    spdx: str
    read_from: str


def licence_of(package: Package) -> Licence:
    """The licence of an installed package.

    Raises:
        DemoTextMissing: when the package is not installed.
    """
    if package.name != STANDARD_LIBRARY:
        stated = _stated_in_notices(package) or _stated_in_metadata(package)
        if stated is not None:
            return stated
    for path in _licence_files(package):
        text = " ".join(path.read_text(encoding="utf-8", errors="replace").lower().split())
        for spdx, phrases in _PHRASES:
            if all(phrase in text for phrase in phrases):
                return Licence(spdx, path.name)
    return Licence(UNKNOWN, "neither metadata nor a licence file of the package names a known licence")


def _stated_in_notices(package: Package) -> Licence | None:
    for name in _NOTICE_FILES.get(package.name, ()):
        path = package.root() / name
        found = _TAG.search(path.read_text(encoding="utf-8")) if path.is_file() else None
        if found is not None:
            return Licence(_canonical(found[1]), f"{package.module}/{name}")
    return None


def _stated_in_metadata(package: Package) -> Licence | None:
    fields = package.distribution().metadata
    if "License-Expression" in fields:
        expression = fields["License-Expression"]
        return Licence(expression.strip(), "METADATA, License-Expression")
    named = _IDENTIFIERS.get(fields["License"].strip().lower()) if "License" in fields else None
    return None if named is None else Licence(named, "METADATA, License")


def _canonical(identifier: str) -> str:
    """SPDX identifiers compare without case; the usual spelling of Creative Commons ones is upper case."""
    return _IDENTIFIERS.get(
        identifier.lower(), identifier.upper() if identifier.lower().startswith("cc") else identifier
    )


def _licence_files(package: Package) -> Iterator[Path]:
    """The licence texts that came with the package, nearest first."""
    if package.name == STANDARD_LIBRARY:
        yield from (path for path in _python_licence_files(package.root()) if path.is_file())
        return
    distribution = package.distribution()
    for entry in distribution.files or ():
        is_own = any(part.endswith((".dist-info", ".egg-info")) for part in entry.parts)
        if is_own and re.match(r"licen[cs]e|copying", entry.name, re.IGNORECASE):
            yield Path(str(distribution.locate_file(entry)))


def _python_licence_files(library: Path) -> list[Path]:
    base = Path(sys.base_prefix)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return [
        library / "LICENSE.txt",
        base / "LICENSE.txt",
        base / "share" / "doc" / version / "copyright",  # Debian moves the text here
        library / "site.py",  # where the interpreter's own licence notice points to the text
    ]
