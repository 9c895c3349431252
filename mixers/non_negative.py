"""Non-negative least squares that always ends with an answer.

The active-set method of Lawson & Hanson (1974, chapter 23) is exact, and gives up after so many exchanges where columns
are nearly one another. Then the problem is solved by coordinate descent on the normal equations, which goes down with
every step: slower, and as near to the optimum as its sweeps allow.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.optimize import nnls

# Exchanges a column before the active set counts as lost; sweeps of the descent, and where it ends.
_EXCHANGES, _SWEEPS, _TOLERANCE = 30, 500, 1e-10


def non_negative(design: Float[np.ndarray, "n m"], y: Float[np.ndarray, " n"]) -> Float[np.ndarray, " m"]:
    """argmin |design x - y| over x >= 0. Every column must be finite; one of zeros gets 0."""
    size = np.sqrt((design**2).sum(axis=0))
    size = np.where(size > 0, size, 1.0)
    unit = design / size
    try:
        found, _ = nnls(unit, y, maxiter=_EXCHANGES * design.shape[1])
    except RuntimeError:
        found = descend(unit.T @ unit, unit.T @ y)
    return found / size


def descend(normal: Float[np.ndarray, "m m"], right: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
    """argmin x' normal x / 2 - right' x over x >= 0 by coordinate descent, from 0."""
    x, slope, diagonal = np.zeros(len(right)), -right, np.diag(normal)
    for _ in range(_SWEEPS):
        largest = 0.0
        for j in np.flatnonzero(diagonal > 0):
            step = max(x[j] - slope[j] / diagonal[j], 0.0) - x[j]
            if step:
                x[j] += step
                slope = slope + step * normal[j]
                largest = max(largest, abs(step) * np.sqrt(diagonal[j]))
        if largest <= _TOLERANCE * np.sqrt(max(float(right @ x), 1e-300)):
            break
    return x
