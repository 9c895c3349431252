"""What a reader has to tell about the input that it accepted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Remarks:
    """Sentences for the report: what was done or assumed (notes), and what the user should look at (warnings)."""

    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def __add__(self, other: Remarks) -> Remarks:
        """Both, and each sentence once: a file that is read twice has one thing to tell."""
        notes = dict.fromkeys(self.notes + other.notes)
        warnings = dict.fromkeys(self.warnings + other.warnings)
        return Remarks(tuple(notes), tuple(warnings))


def note(sentence: str) -> Remarks:
    """One note."""
    return Remarks(notes=(sentence,))


def warning(sentence: str) -> Remarks:
    """One warning."""
    return Remarks(warnings=(sentence,))
