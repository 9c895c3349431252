"""Measurements that are no data points: a run that diverged, a loss in the wrong unit.

Before any fit: an entry further than 50 spreads (1.4826 MAD of the target about the median of its scale) from that
median. Healthy runs of mixtures that lack a whole domain were seen at 34. Such entries are taken as not measured.

After the fits: an entry that every good law misses by far is suspect. It stays in the fits, whose losses are robust,
and is reported: a person may know what happened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from mixers.laws.parametric import spread
from mixers.types import Observations

_FAR = 50.0
_UNEXPLAINED = 10.0
# Fewer values have no spread that could be called typical.
_MIN_VALUES = 8


@dataclass(frozen=True)
class Outlier:
    """One measurement: the run, the target, its value, and how many spreads it lies from where it should.

    Args:
        run_id: the name of the row; of_run, train_tokens: the run that it is a checkpoint of, and how far that was.
    """

    run_id: str
    of_run: str
    train_tokens: float
    target: str
    value: float
    distance: float


def without_diverged(runs: Observations) -> tuple[Observations, tuple[Outlier, ...]]:
    """The runs with entries that are far off taken as not measured, and those entries, farthest first."""
    distance = _distance(runs.losses - _scale_medians(runs))
    far = np.abs(distance) > _FAR
    if not far.any():
        return runs, ()
    return replace(runs, losses=np.where(far, np.nan, runs.losses)), _named(runs, far, distance)


def unexplained(runs: Observations, guesses: Sequence[Float[np.ndarray, "n t"]]) -> tuple[Outlier, ...]:
    """Entries that all of the laws, by their out-of-fold means, miss in the same direction by ten typical errors.

    And by more than the target's own spread: a good law has small errors, and a tail of them is no fault of the runs.
    """
    if not guesses:
        return ()
    residual = np.stack([runs.losses - guess for guess in guesses])
    distance = np.stack([_distance(one) for one in residual])
    nearest = np.take_along_axis(distance, np.abs(distance).argmin(axis=0)[None], axis=0)[0]
    same_side = (np.sign(residual) == np.sign(residual[:1])).all(axis=0)
    large = (np.abs(residual) > spread(runs.losses)).all(axis=0)
    return _named(runs, same_side & large & (np.abs(nearest) > _UNEXPLAINED), nearest)


def _scale_medians(runs: Observations) -> np.ndarray:
    middle = np.full(runs.losses.shape, np.nan)
    for g in np.unique(runs.scale_groups):
        rows = np.flatnonzero(runs.scale_groups == g)
        measured = ~np.isnan(runs.losses[rows]).all(axis=0)
        middle[np.ix_(rows, measured)] = np.nanmedian(runs.losses[np.ix_(rows, measured)], axis=0)
    return middle


def _distance(deviation: np.ndarray) -> np.ndarray:
    """In robust spreads of each column; 0 where too few values give a spread, or more than half are equal."""
    distance = np.zeros(deviation.shape)
    for j in range(deviation.shape[1]):
        size = np.abs(deviation[:, j])
        measured = np.isfinite(size)
        spread = 1.4826 * float(np.median(size[measured])) if measured.any() else 0.0
        if measured.sum() >= _MIN_VALUES and spread > 0:
            with np.errstate(over="ignore"):  # a value near the largest number is infinitely far off
                distance[measured, j] = deviation[measured, j] / spread
    return distance


def _named(runs: Observations, which: Bool[np.ndarray, "n t"], distance: np.ndarray) -> tuple[Outlier, ...]:
    rows, columns = np.nonzero(which)
    order = np.argsort(-np.abs(distance[rows, columns]), kind="stable")
    return tuple(
        Outlier(
            runs.run_ids[i],
            runs.of_run[i],
            float(runs.train_tokens[i]),
            runs.targets.names[j],
            float(runs.losses[i, j]),
            float(distance[i, j]),
        )
        for i, j in zip(rows[order].tolist(), columns[order].tolist(), strict=True)
    )
