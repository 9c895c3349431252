"""How well predicted losses agree with measured ones, inside groups of equal (N, D).

Pooled over scales a rank correlation measures only that larger models have lower losses: a false .99.

    Spearman, Pearson   mean over groups of 4 or more, weighted by their runs
    R2                  1 - sum (y - prediction)^2 / sum (y - m)^2, with m the mean of the group
    regret              y of the run with the best prediction, minus the best y; mean over groups by their runs
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

# A correlation of fewer points says nothing.
_MIN_GROUP = 4

_Correlation = Callable[[np.ndarray, np.ndarray], float]


def spearman_within(
    observed: Float[np.ndarray, " n"], predicted: Float[np.ndarray, " n"], group: Int[np.ndarray, " n"]
) -> float:
    """Rank correlation inside each group; NaN when no group has one. A constant prediction ranks nothing: 0."""
    # Predictions that differ by rounding only are equal, else a constant law gets a rank by chance.
    return _within(observed, predicted, group, lambda a, b: _pearson(_ranks(np.round(a, 12)), _ranks(np.round(b, 12))))


def pearson_within(
    observed: Float[np.ndarray, " n"], predicted: Float[np.ndarray, " n"], group: Int[np.ndarray, " n"]
) -> float:
    """Linear correlation inside each group; NaN when no group has one, 0 for a constant prediction."""
    return _within(observed, predicted, group, lambda a, b: _pearson(a, np.round(b, 12)))


def r2_within(
    observed: Float[np.ndarray, " n"], predicted: Float[np.ndarray, " n"], group: Int[np.ndarray, " n"]
) -> float:
    """1 - SSE / SST with SST about the mean of each group; NaN when nothing varies."""
    rows = np.isfinite(observed) & np.isfinite(predicted)
    error, total = 0.0, 0.0
    for g in np.unique(group[rows]):
        here = rows & (group == g)
        error += float(((observed[here] - predicted[here]) ** 2).sum())
        total += float(((observed[here] - observed[here].mean()) ** 2).sum())
    return 1 - error / total if total > 0 else float("nan")


def relative_error(observed: Float[np.ndarray, " n"], predicted: Float[np.ndarray, " n"]) -> float:
    """Mean of |y - prediction| / |y|; runs that measured 0 are left out; NaN when none is left."""
    rows = np.isfinite(observed) & np.isfinite(predicted) & (observed != 0)
    if not rows.any():
        return float("nan")
    return float((np.abs(observed - predicted)[rows] / np.abs(observed[rows])).mean())


def regret_within(
    observed: Float[np.ndarray, " n"], predicted: Float[np.ndarray, " n"], group: Int[np.ndarray, " n"]
) -> tuple[float, float]:
    """(regret of the run with the best prediction, mean regret of a random run); NaN when no group has a choice."""
    picked, random, weight = 0.0, 0.0, 0
    rows = np.isfinite(observed) & np.isfinite(predicted)
    for g in np.unique(group[rows]):
        here = np.flatnonzero(rows & (group == g))
        if len(here) < 2:
            continue
        best = observed[here].min()
        # Of equal predictions none is preferred: their mean is what a pick among them gets.
        top = here[predicted[here] <= predicted[here].min() + 1e-12]
        picked += len(here) * float(observed[top].mean() - best)
        random += len(here) * float(observed[here].mean() - best)
        weight += len(here)
    return (picked / weight, random / weight) if weight else (float("nan"), float("nan"))


def objective_values(
    losses: Float[np.ndarray, "*batch t"], weights: Float[np.ndarray, " t"]
) -> Float[np.ndarray, "*batch"]:
    """The weighted mean of the targets; NaN where one with positive weight is missing."""
    share = weights / weights.sum()
    used = share > 0
    return np.asarray(losses[..., used] @ share[used])


def _within(observed: np.ndarray, predicted: np.ndarray, group: np.ndarray, correlation: _Correlation) -> float:
    total, weight = 0.0, 0
    rows = np.isfinite(observed) & np.isfinite(predicted)
    for g in np.unique(group):
        here = rows & (group == g)
        size = int(here.sum())
        if size < _MIN_GROUP or np.ptp(observed[here]) == 0:
            continue
        total += size * correlation(observed[here], predicted[here])
        weight += size
    return total / weight if weight else float("nan")


def _pearson(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    size = np.sqrt((a**2).sum() * (b**2).sum())
    return float((a * b).sum() / size) if size > 0 else 0.0


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1; equal values share the mean of theirs. (scipy.stats has it, and takes two seconds to import.)"""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse.reshape(-1)]
