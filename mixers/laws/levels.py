"""Where the losses of each target lie, and how far below them a law may place what no mixture removes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mixers.laws.parametric import OUTLIER


@dataclass(frozen=True)
class Levels:
    """In the units of the losses that it was made from, shape (t,) each.

    Args:
        low, middle, high: least, median and largest loss, without outliers.
        floor: 0 for losses, which cannot fall below it. A negated metric has no such floor: for one, a few ranges below
            the data.
    """

    low: Float[np.ndarray, " t"]
    middle: Float[np.ndarray, " t"]
    high: Float[np.ndarray, " t"]
    floor: Float[np.ndarray, " t"]

    @classmethod
    def of(cls, y: Float[np.ndarray, "t n"], weight: Float[np.ndarray, "t n"]) -> Levels:
        """From losses in spread units (see parametric.py) and their weights, 0 where not measured."""
        measured = weight > 0
        middle = np.nanmedian(np.where(measured, y, np.nan), axis=1)
        healthy = np.clip(y, (middle - OUTLIER)[:, None], (middle + OUTLIER)[:, None])
        low = np.min(np.where(measured, healthy, np.inf), axis=1)
        high = np.max(np.where(measured, healthy, -np.inf), axis=1)
        return cls(low, middle, high, np.where(low >= 0, 0.0, low - 10 * (high - low) - 1))
