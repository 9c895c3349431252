"""What is known of a gathered domain: its file, its size, and the packages and licences that it came from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PackageRecord:
    """A package whose files were read, and the licence that it states."""

    package: str
    version: str
    licence: str
    licence_read_from: str


@dataclass(frozen=True)
class DomainText:
    """The gathered documents of one domain; ``file`` lies in the gathered folder."""

    name: str
    title: str
    file: str
    documents: int
    text_bytes: int
    file_bytes: int
    packages: tuple[PackageRecord, ...]

    @property
    def source(self) -> str:
        """What it is and from which packages, in one line."""
        return f"{self.title} ({', '.join(f'{p.package} {p.version}' for p in self.packages)})"

    @property
    def licence(self) -> str:
        """The SPDX expressions of the packages, joined; a term that stands in several is named once. A choice
        (``A OR B``) keeps brackets, because AND binds closer."""
        terms = [f"({term})" if " OR " in term and not term.startswith("(") else term for term in self._terms()]
        return " AND ".join(dict.fromkeys(terms))

    def _terms(self) -> list[str]:
        """Top-level terms; an expression with brackets is one term."""
        expressions = (p.licence for p in self.packages)
        return [t for text in expressions for t in ([text] if "(" in text else text.split(" AND "))]
