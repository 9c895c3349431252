"""Repeatable options as they are typed: ``NAME=VALUE``, ``DOMAIN=WEIGHT``, ``FAMILY=NUMBER``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from app.formats.errors import name_list
from mixers.errors import InvalidInput


def pairs(label: str, texts: Iterable[str] | None) -> dict[str, str]:
    """``NAME=VALUE`` texts of a repeatable option; the first ``=`` counts.

    Raises:
        InvalidInput: naming the option.
    """
    found: dict[str, str] = {}
    for text in texts or ():
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise InvalidInput(f"{label} is {text!r}; write NAME=VALUE")
        if name in found:
            raise InvalidInput(f"{label} names {name!r} twice")
        found[name] = value
    return found


def frozen_weights(texts: Sequence[str] | None, names: Sequence[str], has_current: bool) -> dict[str, float | None]:
    """The domains of ``--freeze`` and their weights; None keeps that of the mixture in use.

    Raises:
        InvalidInput: naming what is wrong.
    """
    plain = [text for text in texts or () if text in names]
    if plain and not has_current:
        raise InvalidInput(f"--freeze {plain[0]} needs --current, or a weight: --freeze {plain[0]}=0.1")
    given = shares("--freeze", [text for text in texts or () if text not in plain], names, "domain")
    twice = [name for name in plain if name in given or plain.count(name) > 1]
    if twice:
        raise InvalidInput(f"--freeze names domain {twice[0]!r} twice")
    return {**dict.fromkeys(plain), **given}


def shares(label: str, texts: Iterable[str] | None, known: Sequence[str], what: str) -> dict[str, float]:
    """``NAME=WEIGHT`` texts of a repeatable option, see :func:`named_numbers`."""
    return named_numbers(label, texts, known, what, least=0.0, most=1.0)


def epoch_limits(texts: Iterable[str] | None, names: Sequence[str]) -> dict[str, float]:
    """``DOMAIN=EPOCHS`` texts of ``--max-epochs-each``, all above 0.

    Raises:
        InvalidInput: naming what is wrong.
    """
    label = "--max-epochs-each"
    found = named_numbers(label, texts, names, "domain", least=0.0)
    for name, value in found.items():
        if value == 0:
            raise InvalidInput(f"{label} {name} is 0; it must be above 0 (--max {name}=0 leaves the domain out)")
    return found


def named_numbers(
    label: str,
    texts: Iterable[str] | None,
    known: Sequence[str],
    what: str,
    least: float = -np.inf,
    most: float = np.inf,
) -> dict[str, float]:
    """``NAME=NUMBER`` texts of a repeatable option. The last ``=`` counts: names may hold some.

    Raises:
        InvalidInput: naming the option, and what would be accepted.
    """
    found: dict[str, float] = {}
    for text in texts or ():
        name, sign, number = text.rpartition("=")
        name = name.strip()
        if not sign:
            raise InvalidInput(f"{label} is {text!r}; write {what.upper()}=NUMBER, such as {known[0]}=0.1")
        if name not in known:
            raise InvalidInput(f"{label} names {what} {name!r}; known are {name_list(known)}")
        if name in found:
            raise InvalidInput(f"{label} names {what} {name!r} twice")
        found[name] = _number(f"{label} {name}", number, least, most)
    return found


def _number(label: str, text: str, least: float, most: float) -> float:
    if most < np.inf:
        wanted = f"a number from {least:g} to {most:g}"
    else:
        wanted = "a finite number" if np.isinf(least) else f"a number of {least:g} or more"
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not (least <= value <= most and math.isfinite(value)):
        raise InvalidInput(f"{label} is {text.strip()!r}; it must be {wanted}")
    return value
