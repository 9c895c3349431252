"""Python modules: the header as comments, and literals that parse back to their values."""

from __future__ import annotations

from collections.abc import Sequence

from app.formats.exports.base import Plan
from app.formats.exports.headers import with_header

_INDENT = "    "

# A comment in the first two lines may declare an encoding, and the header repeats text of the study. Empty lines that
# hold a comment mark keep it out of them.
_NO_ENCODING = "#\n#\n"


def module_text(plan: Plan, notes: Sequence[str], code: str) -> str:
    """The module below its header."""
    return _NO_ENCODING + with_header(plan, notes, "\n" + code)


def literal(value: object, depth: int = 0) -> str:
    """Dicts, lists and tuples with an entry a line; all else as ``repr`` prints it, which keeps floats exact."""
    inner = _INDENT * (depth + 1)
    if isinstance(value, dict) and value:
        entries = [f"{inner}{key!r}: {literal(item, depth + 1)},\n" for key, item in value.items()]
        return "{\n" + "".join(entries) + _INDENT * depth + "}"
    if isinstance(value, list | tuple) and value:
        opening, closing = "[]" if isinstance(value, list) else "()"
        entries = [f"{inner}{literal(item, depth + 1)},\n" for item in value]
        return f"{opening}\n" + "".join(entries) + _INDENT * depth + closing
    return repr(value)
