"""Numbers and names of single runs, as foreign sources write them, made safe to store."""

from __future__ import annotations

import math
from typing import Any

from app.formats.errors import FormatError

MAX_NAME = 200
MAX_MODEL_PARAMS = 10**15
MAX_TRAIN_TOKENS = 10**18
MAX_SEED = 2**31
# The words of different tools for a run that ended well.
FINISHED = frozenset({"finished", "succeeded", "success", "completed", "complete", "done"})


def number(value: Any) -> float | None:
    """``value`` as a float where it is a number or the text of one; None otherwise."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def count(value: float | None, most: int, what: str) -> int | None:
    """A positive whole number; None where it is not known.

    Raises:
        FormatError: it is no such number.
    """
    if value is None or math.isnan(value):
        return None
    if not (math.isfinite(value) and 1 <= value <= most):
        raise FormatError(f"{what} is {value:g}; it must be a count from 1 to {most:.0e}, or left out")
    return round(value)


def seed_of(value: float | None) -> int:
    """A seed; 0 where none is told.

    Raises:
        FormatError: it is no whole number, or too large to store.
    """
    if value is None or math.isnan(value):
        return 0
    if not (0 <= value < MAX_SEED and value == int(value)):
        raise FormatError(f"the seed is {value:g}; it must be a whole number from 0 to {MAX_SEED - 1}")
    return int(value)
