"""What a reader has to tell about the input that it accepted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Remarks:
    """Sentences for the report: what was done or assumed (notes), and what the user should look at (warnings)."""

    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def __add__(self, other: Remarks) -> Remarks:
        return Remarks(self.notes + other.notes, self.warnings + other.warnings)


def note(sentence: str) -> Remarks:
    """One note."""
    return Remarks(notes=(sentence,))


def warning(sentence: str) -> Remarks:
    """One warning."""
    return Remarks(warnings=(sentence,))
