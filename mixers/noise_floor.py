"""How much a target differs between runs that should be equal: what no law can predict.

    s_i^2 = sum over groups of repeats of sum (y - group mean)^2  /  sum over groups of (repeats - 1)

A group of repeats has one mixture and one (N, D), and differs in its seed only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from mixers.agreement import objective_values
from mixers.types import Observations


@dataclass(frozen=True)
class NoiseFloor:
    """Standard deviation of a repeat, one a target and of the objective; NaN where no repeats say it.

    Args:
        std: shape (t,). freedom: degrees of freedom behind each, shape (t,); 0 where it is not known.
        objective_std: of the weighted mean of the targets.
    """

    std: Float[np.ndarray, " t"]
    freedom: Int[np.ndarray, " t"]
    objective_std: float

    @property
    def known(self) -> bool:
        """Whether any target was repeated."""
        return bool((self.freedom > 0).any())


def noise_floor(runs: Observations) -> NoiseFloor:
    """The noise between repeats of one mixture at one scale. Unknown scales count as one."""
    _, mixture = np.unique(np.round(runs.p, 9), axis=0, return_inverse=True)
    group = mixture.reshape(-1) * (int(runs.scale_groups.max(initial=0)) + 1) + runs.scale_groups
    columns = [_pooled(runs.losses[:, j], group) for j in range(len(runs.targets))]
    objective, _ = _pooled(objective_values(runs.losses, runs.targets.weights), group)
    return NoiseFloor(np.array([std for std, _ in columns]), np.array([left for _, left in columns]), objective)


def _pooled(values: np.ndarray, group: np.ndarray) -> tuple[float, int]:
    measured = np.isfinite(values)
    values, (_, labels) = values[measured], np.unique(group[measured], return_inverse=True)
    if len(values) == 0:
        return float("nan"), 0
    count = np.bincount(labels)
    mean = np.bincount(labels, values) / count
    freedom = int((count - 1).sum())
    if freedom == 0:
        return float("nan"), 0
    return float(np.sqrt(((values - mean[labels]) ** 2).sum() / freedom)), freedom
