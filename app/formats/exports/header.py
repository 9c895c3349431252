"""What stands above the weights in every exported file: where they came from, the epochs they imply, how they are read.

A file travels without the reply that carried it, so it repeats the notes as comments. Text of other people (a study's
name, a domain's name) must not leave its comment line: it is printed on one line, whatever characters it holds.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence

from app.formats.exports.base import Plan

# The title comes first in each file, so that no line of a caller can be one of the first two lines of a Python file,
# where a comment may declare an encoding.
_TITLE = (
    "Data mixture, written by Mixwright.",
    "Weights are printed in full precision; rounding them changes the mixture.",
)
_WIDTH = 110


def header_lines(plan: Plan, notes: Sequence[str]) -> list[str]:
    """Title, provenance, epochs of every domain over the whole plan, and the notes: lines without a comment mark."""
    lines = [*_TITLE, "", *(f"{one_line(key)}: {one_line(value)}" for key, value in plan.provenance.items())]
    lines += ["", "Epochs that the whole plan implies (passes over each domain):"]
    lines += [f"  {quoted(name)}: {_epochs(epochs)}" for name, epochs in plan.epochs().items()]
    for note in notes:
        lines += ["", *textwrap.wrap(one_line(note), _WIDTH, break_long_words=False, break_on_hyphens=False)]
    return lines


def commented(lines: Sequence[str]) -> str:
    """The lines as ``#`` comments, as YAML, Python and shell read them, and an empty line."""
    return "".join(f"# {line}".rstrip() + "\n" for line in lines) + "\n"


def quoted(name: str) -> str:
    """A name in double quotes on one line; JSON escapes stand for what does not print."""
    return one_line(json.dumps(name, ensure_ascii=False))


def one_line(text: str) -> str:
    """The text with JSON escapes for line breaks and all else that does not print."""
    return "".join(character if character.isprintable() else json.dumps(character)[1:-1] for character in text)


def _epochs(epochs: float | None) -> str:
    return "unknown, because its available tokens are" if epochs is None else repr(epochs)
