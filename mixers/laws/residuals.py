"""Out-of-fold errors of several laws as one table, ready to compare and to combine.

With shares that sum to 1 the error of a combination is the combination of the errors, so its mean square is

    w' Q w,      Q_ml = mean over runs of e_m e_l

in units of the target's spread. Errors are taken about their median in each group of equal (N, D), shrunk for small
groups: what matters for a mixture is the order inside of a scale. Errors beyond a limit are cut, and a run that all
members miss by more than that does not count: a diverged run must not choose.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from mixers.agreement import objective_values
from mixers.laws.parametric import spread
from mixers.non_negative import non_negative
from mixers.types import Observations

# In typical errors of the best member.
_LIMIT = 8.0


@dataclass(frozen=True)
class Errors:
    """moments (f, t + 1, m, m): sums of e_m e_l over the runs of each fold; count (f, t + 1) of runs in them.

    The last entry of the t-axis is the objective, the weighted mean of the targets.
    """

    moments: Float[np.ndarray, "f t1 m m"]
    count: Int[np.ndarray, "f t1"]

    def mean_square(self) -> Float[np.ndarray, "t1 m m"]:
        """Q of every target, and of the objective, over all folds."""
        total = np.maximum(self.count.sum(axis=0), 1)
        return np.asarray(self.moments.sum(axis=0) / total[:, None, None])

    def without(self, fold: int) -> Errors:
        """The same without one fold."""
        keep = np.arange(len(self.count)) != fold
        return Errors(self.moments[keep], self.count[keep])


def errors_of(runs: Observations, means: list[np.ndarray], fold: Int[np.ndarray, " n"]) -> Errors:
    """From out-of-fold means (n, t), one a member. A run counts for a target where all members predicted it."""
    weights = runs.targets.weights
    losses = _with_objective(runs.losses, weights)
    guess = np.stack([_with_objective(mean, weights) for mean in means], axis=-1)
    error = (losses[:, :, None] - guess) / spread(losses)[:, None]
    error[np.isnan(error).any(axis=2)] = np.nan
    error = _about_scale(error, runs.scale_groups)
    limit = _LIMIT * np.nanmin(1.4826 * _median_size(error), axis=1, keepdims=True)
    error[(np.abs(error) > limit).all(axis=2) & (limit > 0)[None, :, 0]] = np.nan
    error = np.clip(error, -limit, limit)
    folds = np.unique(fold)
    t, m = error.shape[1:]
    moments, count = np.zeros((len(folds), t, m, m)), np.zeros((len(folds), t), dtype=np.int64)
    for i, f in enumerate(folds):
        here = error[fold == f]
        measured = ~np.isnan(here[:, :, 0])
        filled = np.nan_to_num(here)
        moments[i] = np.einsum("ntm,ntl->tml", filled, filled)
        count[i] = measured.sum(axis=0)
    return Errors(moments, count)


def best_shares(q: Float[np.ndarray, "t m m"]) -> Float[np.ndarray, "t m"]:
    """argmin w' Q w over the simplex, for each target.

    Up to its scale the solution is that of min |L' w|^2 + (1 - sum w)^2 over w >= 0, with Q = L L'.
    """
    t, m = q.shape[:2]
    shares = np.empty((t, m))
    for i in range(t):
        unit = max(float(np.trace(q[i])) / m, 1e-300)
        value, vector = np.linalg.eigh(q[i] / unit + 1e-9 * np.eye(m))
        root = (vector * np.sqrt(np.maximum(value, 0.0))).T
        system = np.concatenate([root, np.ones((1, m))])
        found = non_negative(system, np.append(np.zeros(m), 1.0))
        shares[i] = found / found.sum()
    return shares


def _with_objective(losses: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.concatenate([losses, objective_values(losses, weights)[:, None]], axis=1)


def _about_scale(error: np.ndarray, group: np.ndarray) -> np.ndarray:
    centred = error.copy()
    for g in np.unique(group):
        rows = group == g
        measured = ~np.isnan(error[rows]).all(axis=2)
        size = measured.sum(axis=0)[:, None]
        middle = np.nanmedian(np.where(np.asarray(measured.any(axis=0))[:, None], error[rows], 0.0), axis=0)
        centred[rows] -= middle * size / (size + 1)  # a lone run keeps half of its error
    return centred


def _median_size(error: np.ndarray) -> np.ndarray:
    size = np.abs(error)
    lost = np.isnan(size).all(axis=0)
    size = np.where(lost, 1.0, size)
    return np.asarray(np.nanmedian(size, axis=0))
