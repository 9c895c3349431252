"""What can go wrong with a file that the user gave."""

from __future__ import annotations

from collections.abc import Iterable

from mixers.errors import InvalidInput


class FormatError(InvalidInput):
    """A file does not hold what its format says. The message names file, line and column."""


def name_list(names: Iterable[str], most: int = 12) -> str:
    """Names for a sentence: quoted, and cut short when there are many."""
    shown = [repr(name) for name in names]
    rest = len(shown) - most
    return ", ".join(shown[:most]) + (f" and {rest} more" if rest > 0 else "")
