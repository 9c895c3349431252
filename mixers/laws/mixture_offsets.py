"""Runs of one mixture share an offset: what the law misses at that mixture, at every scale and checkpoint.

    residual of run i of mixture g = u_g + e_i,      u_g ~ N(0, rho s^2),  e_i ~ N(0, s^2)

The offsets are partially pooled: integrated out, which is least squares on quasi-demeaned rows (Fuller & Battese 1973)

    y_i - theta_g mean_g(y),       theta_g = 1 - 1 / sqrt(1 + rho n_g)

Eleven checkpoints of one mixture then count as a little more than one when mixtures are compared, and in full where
scales are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True)
class MixtureOffsets:
    """Of n rows that are sorted by mixture, for t targets.

    Args:
        starts: the first row of each mixture, shape (g,). label: the mixture of each row, shape (n,).
        weight: 1 for a measured row, shape (t, n).
        pull: theta_g / n_g of each row, with n_g the rows of its mixture that were measured, shape (t, n).
        row_worth: 1 / (1 + rho n_g): rows of a mixture are together worth n_g of it; shape (t, n).
    """

    starts: Int[np.ndarray, " g"]
    label: Int[np.ndarray, " n"]
    weight: Float[np.ndarray, "t n"]
    pull: Float[np.ndarray, "t n"]
    row_worth: Float[np.ndarray, "t n"]

    @classmethod
    def of(cls, label: Int[np.ndarray, " n"], weight: Float[np.ndarray, "t n"], rho: float) -> MixtureOffsets:
        """From the sorted labels 0 .. g - 1 of the rows."""
        starts = np.flatnonzero(np.diff(label, prepend=-1))
        count = np.add.reduceat(weight, starts, axis=1)[:, label]
        theta = 1 - 1 / np.sqrt(1 + rho * count)
        return cls(starts, label, weight, theta / np.maximum(count, 1), weight / (1 + rho * count))

    def demean(self, values: np.ndarray, target: Int[np.ndarray, " b"]) -> np.ndarray:
        """Values (b, n) or Jacobians (b, n, m) of the targets, quasi-demeaned."""
        extra = (slice(None), slice(None)) + (None,) * (values.ndim - 2)
        total = np.add.reduceat(values * self.weight[target][extra], self.starts, axis=1)
        return values - self.pull[target][extra] * total[:, self.label]
