"""What a name may be that people and tables show: one rule for studies, domains, targets, runs, keys and the rest."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from app.schemas.common import Name

# Of a run, as its own tools call it.
MAX_EXTERNAL_ID = 300


def fault_of(name: str) -> str | None:
    """What makes ``name`` one that looks like another name, or like none; None for a good one.

    Letters of every script are fine. Control characters and line ends would break tables and files;
    characters without a shape of their own, such as those that turn the direction of a text, let two names look alike.
    """
    if not name.strip():
        return "is blank; a name has at least one character that can be seen"
    if name != name.strip():
        return f"is {name[:100]!r}; a name begins and ends with a character that can be seen, not with a space"
    if not name.isprintable():
        hidden = next(character for character in name if not character.isprintable())
        return f"is {name[:100]!r}, which holds U+{ord(hidden):04X}; a name is one line of characters that can be shown"
    return None


def _shown(name: str) -> str:
    fault = fault_of(name)
    if fault is not None:
        raise ValueError(fault)
    return name


# Of what is made or renamed. What was stored before is read as it is, as a ``Name``.
NewName = Annotated[Name, AfterValidator(_shown)]
ExternalId = Annotated[str, Field(min_length=1, max_length=MAX_EXTERNAL_ID), AfterValidator(_shown)]
