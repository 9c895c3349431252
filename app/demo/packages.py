"""Where installed packages lie and which version they have, without importing any of them.

Importing torch costs seconds and belongs to the agent; the demo only reads files.
"""

from __future__ import annotations

import hashlib
import os
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from platform import python_version

from app.demo.errors import DemoTextMissing

STANDARD_LIBRARY = "python"  # not a distribution: the interpreter that runs us

# Folders that hold tests, or installed packages inside the standard library's folder: not text of the package.
SKIPPED_FOLDERS = frozenset({"test", "tests", "testing", "idle_test", "site-packages", "dist-packages", "__pycache__"})


@dataclass(frozen=True)
class Package:
    """A package whose files are text.

    Args:
        name: as on the package index; :data:`STANDARD_LIBRARY` for Python itself.
        module: the folder's import name; may differ from the name.
        extra: the extra of this project that installs it; empty for the base.
    """

    name: str
    module: str
    extra: str

    @property
    def how_to_install(self) -> str:
        return f"pip install 'mixwright[{self.extra}]'" if self.extra else "pip install mixwright"

    def root(self) -> Path:
        """The folder of the package's files.

        Raises:
            DemoTextMissing: naming the package and the extra that installs it.
        """
        if self.name == STANDARD_LIBRARY:
            return Path(sysconfig.get_path("stdlib"))
        # The search for a top-level name runs no code of the package.
        spec = util.find_spec(self.module)
        folders = list(spec.submodule_search_locations or ()) if spec else []
        if not folders or not Path(folders[0]).is_dir():
            raise DemoTextMissing(f"the package {self.name} is not installed; install it with: {self.how_to_install}")
        return Path(folders[0])

    def version(self) -> str:
        """The installed version.

        Raises:
            DemoTextMissing: naming the package and the extra that installs it.
        """
        return python_version() if self.name == STANDARD_LIBRARY else self.distribution().version

    def distribution(self) -> metadata.Distribution:
        """The installed package's own metadata.

        Raises:
            DemoTextMissing: naming the package and the extra that installs it.
        """
        try:
            return metadata.distribution(self.name)
        except metadata.PackageNotFoundError as exc:
            sentence = f"the package {self.name} is not installed; install it with: {self.how_to_install}"
            raise DemoTextMissing(sentence) from exc


@dataclass(frozen=True)
class TextFile:
    """One file of a package; ``label`` names it independently of where the package is installed."""

    path: Path
    label: str


def list_files(
    package: Package, suffixes: Iterable[str], below: str = "", skipped: Iterable[str] = ()
) -> list[TextFile]:
    """The files of ``package`` with one of the ``suffixes``, in the folder ``below``, without tests, sorted.

    Args:
        skipped: names of further folders to leave out.
    """
    root = package.root()
    leave_out = SKIPPED_FOLDERS | set(skipped)
    endings = tuple(suffixes)
    found = []
    for folder, inner, names in os.walk(root / below):
        inner[:] = [name for name in inner if name not in leave_out]  # never walked: site-packages is large
        prefix = "/".join((package.module, *Path(folder).relative_to(root).parts))
        found += [TextFile(Path(folder, name), f"{prefix}/{name}") for name in names if name.endswith(endings)]
    return sorted(found, key=lambda file: file.label)


def in_hash_order(files: Iterable[TextFile]) -> list[TextFile]:
    """The files in an order that looks random and is the same everywhere, so that any beginning is a fair sample."""
    return sorted(files, key=lambda file: hashlib.sha256(file.label.encode()).digest())
