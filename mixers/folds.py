"""Which runs may be judged by a law that was fitted to which others.

Checkpoints and repeats of one mixture differ by little more than noise: a law that has seen one of them has seen all.
So the runs are cut into folds by mixture.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from mixers.types import Observations


def mixture_labels(runs: Observations) -> Int[np.ndarray, " n"]:
    """An integer a run from 0, equal for runs that share a ``mix_id`` or have the same weights, also by a chain."""
    by_id = runs.mixture_groups
    _, by_weights = np.unique(np.round(runs.p, 9), axis=0, return_inverse=True)
    by_weights = by_weights.reshape(-1)
    group = by_id.copy()
    while True:  # merge until no id and no mixture spans two groups; each pass lowers a label or ends
        lowest = group.copy()
        for labels in (by_id, by_weights):
            least = np.full(labels.max() + 1, len(group))
            np.minimum.at(least, labels, lowest)
            lowest = least[labels]
        if np.array_equal(lowest, group):
            return np.unique(group, return_inverse=True)[1].reshape(-1).astype(np.int64)
        group = lowest


def fold_by_mixture(runs: Observations, folds: int, rng: np.random.Generator) -> Int[np.ndarray, " n"]:
    """A fold a run, equal for runs of one mixture; at most ``folds``, never more than there are mixtures."""
    mixture = mixture_labels(runs)
    count = int(mixture.max()) + 1
    order = rng.permutation(count) % min(folds, count)
    return order[mixture].astype(np.int64)


def is_largest_scale(runs: Observations) -> np.ndarray:
    """Mask (n,) of the runs of the largest model, or of the most tokens when all models are of one size.

    All False where there is one scale only, or scales are not known.
    """
    for axis in (runs.model_params, runs.train_tokens):
        known = axis[~np.isnan(axis)]
        if len(known) == len(axis) and len(np.unique(known)) > 1:
            return np.asarray(axis == known.max())
    return np.zeros(len(runs), bool)
