"""Python literals laid out over lines, which parse back to their values."""

from __future__ import annotations

_INDENT = "    "


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
