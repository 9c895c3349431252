"""The covariance of losses between mixtures and scales, with its derivatives.

Notation: x_j = sqrt(p_j + EPS), the square-root map under which the distance of two mixtures is Hellinger's; s = (log
N/N0, log D/D0), 0 where not known or never varied; kappa the Matern-5/2 function of a scaled squared distance r2,

    kappa(r2) = (1 + r + r2 / 3) exp(-r),        r2 = 5 sum_j (x_j - x'_j)^2 / l_j^2

with one length scale l_j a domain (automatic relevance determination: a domain that does not matter gets a long one).
At one scale, in units of the target's spread,

    K = C0 + signal kappa(p, p') + noise I

Over several scales, the same with a level that falls as power laws, smooth deviations from it, and an effect of the
mixture of which a part is shared by all scales and a part (rho) is each scale's own:

    K = C0 + sum_axis trend phi(s) phi(s') + level kappa(s, s') + signal kappa(p, p') (1 + rho kappa(s, s'))
        + run [same run] + noise I,                    phi(s) = (exp(-a s) - 1) / a

phi makes the level linear in N^-a and D^-b: far beyond the runs it goes on falling and comes to rest. ``run`` is what
all checkpoints of one run have in common besides their mixture and scale; without it ten checkpoints would count as ten
measurements of their mixture. Both are part of the deviation of a new measurement.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

# The slope of sqrt(p) is infinite at 0. With this it is at most 50, and a share of 1e-4 is still told from none.
EPS = 1e-4
# Prior variance of the constant, in squared spreads about the mean of the runs: weakly informative.
CONSTANT = 10.0
# After the k length scales and these two ...
_BASE = 2  # signal, noise
# ... a kernel over several scales has: trend (N, D), exponent (N, D), level, rho, length of scale (N, D), run.
SCALE_TERMS = 9


@dataclass(frozen=True)
class Inputs:
    """Rows as the kernel sees them: x (n, k), s (n, 2), and equal integers (n,) for rows of one run."""

    x: Float[np.ndarray, "n k"]
    s: Float[np.ndarray, "n 2"]
    run: Int[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: Int[np.ndarray, " m"]) -> Inputs:
        """The rows at ``rows``, in that order."""
        return Inputs(self.x[rows], self.s[rows], self.run[rows])


@dataclass(frozen=True)
class Kernel:
    """Hyper-parameters. Without scale terms ``trend`` and what follows are zeros (and lengths ones)."""

    length: Float[np.ndarray, " k"]
    signal: float
    noise: float
    trend: Float[np.ndarray, " 2"]
    exponent: Float[np.ndarray, " 2"]
    level: float
    rho: float
    scale_length: Float[np.ndarray, " 2"]
    run: float

    @classmethod
    def of(cls, theta: Float[np.ndarray, " m"], k: int) -> Kernel:
        """From logarithms: k lengths, signal, noise and, over several scales, the scale terms."""
        values = np.exp(theta)
        signal, noise = float(values[k]), float(values[k + 1])
        if len(theta) == k + _BASE:
            zero, one = np.zeros(2), np.ones(2)
            return cls(values[:k], signal, noise, zero, one, 0.0, 0.0, one, 0.0)
        more = values[k + _BASE :]
        level, rho, run = float(more[4]), float(more[5]), float(more[8])
        return cls(values[:k], signal, noise, more[:2], more[2:4], level, rho, more[6:8], run)

    @property
    def scaled(self) -> bool:
        """Whether it has scale terms."""
        return self.level > 0

    def covariance(self, a: Inputs, b: Inputs) -> Float[np.ndarray, "n m"]:
        """Covariance of the smooth part (neither noise nor run) between rows of ``a`` and of ``b``."""
        mixed, _ = matern(a.x / self.length, b.x / self.length)
        if not self.scaled:
            return CONSTANT + self.signal * mixed
        near, _ = matern(a.s / self.scale_length, b.s / self.scale_length)
        falling = (self.phi(a.s) * self.trend) @ self.phi(b.s).T
        return CONSTANT + falling + self.level * near + self.signal * mixed * (1 + self.rho * near)

    def variance(self, a: Inputs) -> Float[np.ndarray, " n"]:
        """The diagonal of :meth:`covariance` of ``a`` with itself."""
        falling = (self.phi(a.s) ** 2) @ self.trend
        return CONSTANT + falling + self.level + self.signal * (1 + self.rho)

    def phi(self, s: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
        """(exp(-a s) - 1) / a of each axis."""
        return np.expm1(-self.exponent * s) / self.exponent

    def noise_matrix(self, a: Inputs) -> Float[np.ndarray, "n n"]:
        """Covariance of what is no smooth function of mixture and scale."""
        shared = self.run * (a.run[:, None] == a.run[None, :])
        return shared + self.noise * np.eye(len(a))

    def mixture_slope(self, a: Inputs, b: Inputs, weights: Float[np.ndarray, " m"]) -> Float[np.ndarray, "n k"]:
        """d/dx_j at the rows of ``a`` of  sum_i weights_i K(a, b_i)."""
        mixed_slope = matern(a.x / self.length, b.x / self.length)[1]
        near = matern(a.s / self.scale_length, b.s / self.scale_length)[0] if self.scaled else 0.0
        pull = weights * self.signal * (1 + self.rho * near) * mixed_slope
        return 2 * (a.x * pull.sum(axis=1, keepdims=True) - pull @ b.x) / self.length**2


def matern(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m d"]) -> tuple[np.ndarray, np.ndarray]:
    """Matern-5/2 between scaled rows, shape (n, m), and its derivative by the squared distance |a_i - b_j|^2."""
    squared = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1)[None, :] - 2 * (a @ b.T)
    r = np.sqrt(5 * np.maximum(squared, 0.0))
    decay = np.exp(-r)
    return (1 + r + r * r / 3) * decay, (-5 / 6) * (1 + r) * decay


def length_slope(pull: Float[np.ndarray, "n n"], scaled: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " d"]:
    """sum_ij pull_ij d|a_i - a_j|^2 / d log l for each length scale, from scaled rows ``a`` and a symmetric ``pull``.

    With |.|^2 summed over rows by matrix products no n x n x d array is ever formed.
    """
    return -4 * (pull.sum(axis=1) @ scaled**2 - ((pull @ scaled) * scaled).sum(axis=0))


@dataclass(frozen=True)
class NoisyCovariance:
    """K at the rows of ``inputs``, and the pieces that its derivatives need again.

    Args:
        matrix: K with noise, shape (n, n).
        mixed, mixed_slope: kappa(p, p') and its derivative by the squared distance, shape (n, n).
        near, near_slope: those of kappa(s, s'); zeros of shape (1, 1) without scale terms.
    """

    kernel: Kernel
    inputs: Inputs
    matrix: np.ndarray
    mixed: np.ndarray
    mixed_slope: np.ndarray
    near: np.ndarray
    near_slope: np.ndarray

    def contract(self, pull: Float[np.ndarray, "n n"]) -> Float[np.ndarray, " m"]:
        """sum_ij pull_ij dK_ij / dtheta for every entry of theta; ``pull`` is symmetric."""
        kernel, inputs = self.kernel, self.inputs
        strength = kernel.signal * (1 + kernel.rho * self.near)
        lengths = length_slope(pull * strength * self.mixed_slope, inputs.x / kernel.length)
        base = [float((pull * strength * self.mixed).sum()), kernel.noise * float(np.trace(pull))]
        if not kernel.scaled:
            return np.concatenate([lengths, base])
        return np.concatenate([lengths, base, self._scale_terms(pull)])

    def _scale_terms(self, pull: np.ndarray) -> np.ndarray:
        kernel, inputs = self.kernel, self.inputs
        phi = kernel.phi(inputs.s)
        # d phi / d log a
        bend = -inputs.s * np.exp(-kernel.exponent * inputs.s) - phi
        pulled = pull @ phi
        trend = kernel.trend * (phi * pulled).sum(axis=0)
        exponent = 2 * kernel.trend * (bend * pulled).sum(axis=0)
        own = kernel.signal * kernel.rho * self.mixed
        level = kernel.level * float((pull * self.near).sum())
        rho = float((pull * own * self.near).sum())
        far = length_slope(pull * (kernel.level + own) * self.near_slope, inputs.s / kernel.scale_length)
        run = kernel.run * float(pull[inputs.run[:, None] == inputs.run[None, :]].sum())
        return np.concatenate([trend, exponent, [level, rho], far, [run]])


def noisy_covariance(theta: Float[np.ndarray, " m"], inputs: Inputs) -> NoisyCovariance:
    """The covariance of measurements at ``inputs`` under the hyper-parameters exp(theta)."""
    kernel = Kernel.of(theta, inputs.x.shape[1])
    mixed, mixed_slope = matern(inputs.x / kernel.length, inputs.x / kernel.length)
    near, near_slope = np.zeros((1, 1)), np.zeros((1, 1))
    total = CONSTANT + kernel.signal * mixed
    if kernel.scaled:
        near, near_slope = matern(inputs.s / kernel.scale_length, inputs.s / kernel.scale_length)
        phi = kernel.phi(inputs.s)
        total += (phi * kernel.trend) @ phi.T + kernel.level * near + kernel.signal * kernel.rho * mixed * near
        total += kernel.run * (inputs.run[:, None] == inputs.run[None, :])
    total[np.arange(len(inputs)), np.arange(len(inputs))] += kernel.noise
    return NoisyCovariance(kernel, inputs, total, mixed, mixed_slope, near, near_slope)
