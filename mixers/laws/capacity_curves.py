"""The loss of each domain under the capacity law, and its derivatives by parameters and by shares.

    l_j(h, N, D) = c_j x_j*(h, N)^-b_j + A_j (D h_j)^-a_j

with x* of water_filling.py. The first part is what too little capacity costs, the second what too few tokens cost. A
share below the floor and a capacity below the least share of N that any run gave to the domain go on along tangents.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mixers.laws.json_record import JsonRecord
from mixers.laws.scale_terms import falling_power
from mixers.laws.shares import share_power
from mixers.laws.water_filling import Allocation, allocate


@dataclass(frozen=True)
class Curves(JsonRecord):
    """Parameters of the k domains, in units of the reference N and D.

    Args:
        log_c, b, log_a, a: logarithms of the amplitudes c and A, and the exponents b and a; shape (k,).
        least: H. share_floor, capacity_floor: see the module; of h and of x / N, shape (k,).
    """

    log_c: Float[np.ndarray, " k"]
    b: Float[np.ndarray, " k"]
    log_a: Float[np.ndarray, " k"]
    a: Float[np.ndarray, " k"]
    least: float
    share_floor: Float[np.ndarray, " k"]
    capacity_floor: Float[np.ndarray, " k"]

    def at(self, p: Float[np.ndarray, "m k"], log_ratio: Float[np.ndarray, "m 2"]) -> CurvePoints:
        """The curves at shares ``p`` and log N / N_ref, log D / D_ref."""
        size = np.exp(log_ratio[:, 0])
        with np.errstate(divide="ignore"):
            gain = np.log(p) + np.log(self.b) + self.log_c
        allocation = allocate(gain, self.b, size, np.minimum(self.least, size))
        floor = self.capacity_floor * size[:, None]
        capacity, by_x, by_b = share_power(allocation.x, floor, self.b)
        tokens, by_share, by_a = share_power(p, self.share_floor, self.a)
        log_tokens = log_ratio[:, 1:]
        supply = np.exp(self.log_a) * falling_power(self.a, log_tokens)
        c = np.exp(self.log_c)
        return CurvePoints(
            self,
            p,
            allocation,
            c * capacity,
            c * by_x,
            c * by_b,
            supply * tokens,
            supply * by_share,
            supply * (by_a - log_tokens * tokens),
        )


@dataclass(frozen=True)
class CurvePoints:
    """The curves at m points. capacity, tokens: the two parts, shape (m, k); the rest: their derivatives."""

    curves: Curves
    p: Float[np.ndarray, "m k"]
    allocation: Allocation
    capacity: Float[np.ndarray, "m k"]
    capacity_by_x: Float[np.ndarray, "m k"]
    capacity_by_b: Float[np.ndarray, "m k"]
    tokens: Float[np.ndarray, "m k"]
    tokens_by_share: Float[np.ndarray, "m k"]
    tokens_by_a: Float[np.ndarray, "m k"]

    @property
    def losses(self) -> Float[np.ndarray, "m k"]:
        """l_j at each point."""
        return self.capacity + self.tokens

    def by_parameters(self, weight: Float[np.ndarray, "_ q k"]) -> Float[np.ndarray, "m q _"]:
        """Derivatives of q weighted sums of the curves by log c, b, log A, a (k each) and log H.

        Args:
            weight: of each curve in each sum, at each point or (first axis 1) at all of them.
        """
        by_gain, by_least = self.allocation.pull_back(weight * self.capacity_by_x[:, None, :])
        log_x = self.allocation.log_x[:, None, :]
        parts = [
            weight * self.capacity[:, None, :] + by_gain,
            weight * self.capacity_by_b[:, None, :] + by_gain * (1 / self.curves.b - log_x),
            weight * self.tokens[:, None, :],
            weight * self.tokens_by_a[:, None, :],
            (by_least * self.curves.least)[:, :, None],
        ]
        return np.concatenate(parts, axis=2)

    def by_shares(self, weight: Float[np.ndarray, "_ q k"]) -> Float[np.ndarray, "m q k"]:
        """Derivatives of q weighted sums of the curves by the shares."""
        by_gain, _ = self.allocation.pull_back(weight * self.capacity_by_x[:, None, :])
        # A share of 0 has the least capacity; a little more of it changes nothing there.
        share = np.where(self.p > 0, self.p, 1.0)[:, None, :]
        return by_gain / share + weight * self.tokens_by_share[:, None, :]
