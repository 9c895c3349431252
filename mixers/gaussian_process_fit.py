"""Hyper-parameters of a Gaussian process by maximum marginal likelihood with weak priors, and its posterior.

For measurements z (n,) in units of their spread, with K the noisy covariance of gaussian_process_kernel.py:

    objective(theta) = z' K^-1 z / 2 + log|K| / 2 + sum_m (theta_m - centre_m)^2 / (2 width_m^2)
    d objective      = sum_ij W_ij dK_ij + prior,        W = (K^-1 - K^-1 z z' K^-1) / 2

(Rasmussen & Williams 2006, Eq. 5.8 and 5.9). The log-normal priors decide only where the runs do not: with 8 runs of 64
domains they keep the length scales long; with 500 they are forgotten.

Cost is cubic in rows. Hyper-parameters are found on at most ``FIT_ROWS`` rows, spread evenly over the mixtures and the
scales of each. Up to ``EXACT_ROWS`` the posterior is exact; beyond, all rows are projected onto ``INDUCING_ROWS`` of
them (projected process, the deterministic training conditional; Rasmussen & Williams 2006, section 8.3.4).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.linalg import cho_solve, cholesky, get_lapack_funcs, solve_triangular
from scipy.optimize import minimize

from mixers.gaussian_process_kernel import Inputs, Kernel, noisy_covariance
from mixers.row_subsets import spread_rows

FIT_ROWS = 256
EXACT_ROWS = 768
INDUCING_ROWS = 512
_MAX_STEPS = 40
# Centres and widths of the priors, in logarithms. Lengths are in units of the distance between two random mixtures;
# the rest in squared spreads of the runs, scale terms in natural logarithms of N and D.
_LENGTH = (1.75, 0.85)
_SIGNAL = (1.0, 0.7)
_NOISE = (np.log(0.1), 1.0)
_SCALE = (
    *((0.0, 2.0), (0.0, 2.0)),  # trend: one spread when N or D grows e-fold
    *((np.log(0.3), 0.5), (np.log(0.3), 0.5)),  # exponents, as scaling laws of losses have them
    (np.log(0.03), 1.5),  # level
    (np.log(0.1), 1.5),  # rho
    *((np.log(3.0), 0.7), (np.log(3.0), 0.7)),  # length: a factor of 20 in N or D
    (np.log(0.02), 1.5),  # run
)
# How far from its centre a hyper-parameter may go, in widths.
_REACH = 5.0
# Less noise than this, in squared spreads, makes the matrix singular in float64 and no run is measured so well.
_LEAST_NOISE = np.log(1e-7)
# A run is no measurement of its mixture when its left-out residual is this many typical ones, and this many deviations
# of the other runs' values. In healthy tables runs of corners of the simplex were seen at 23 of the first, but not of
# the second.
_UNEXPLAINED, _FAR_OUT = 6.0, 3.0
# With fewer rows nothing says which one is wrong.
_LEAST_ROWS_FOR_OUTLIERS = 6
# Added to the covariance of the inducing rows, relative to its diagonal.
_JITTER = 1e-9


_potrf, _potri = get_lapack_funcs(("potrf", "potri"), dtype=np.float64)


@dataclass(frozen=True)
class Prior:
    """Independent normal distributions on theta, and bounds, all of shape (m,)."""

    centre: Float[np.ndarray, " m"]
    width: Float[np.ndarray, " m"]
    lower: Float[np.ndarray, " m"]
    upper: Float[np.ndarray, " m"]

    @classmethod
    def of(cls, inputs: Inputs) -> Prior:
        """For these rows: scale terms only where the scale varies, a run's only where a run has several rows."""
        k = inputs.x.shape[1]
        apart = np.sqrt(2 * inputs.x.var(axis=0).sum())
        unit = np.log(apart) if apart > 1e-6 else 0.0
        pairs = [(unit + _LENGTH[0], _LENGTH[1])] * k + [_SIGNAL, _NOISE]
        scaled = bool(np.ptp(inputs.s, axis=0).any())
        if scaled:
            pairs += _SCALE
        centre, width = (np.array([pair[i] for pair in pairs], dtype=float) for i in (0, 1))
        lower, upper = centre - _REACH * width, centre + _REACH * width
        lower[k + 1] = _LEAST_NOISE
        if scaled and len(np.unique(inputs.run)) == len(inputs):
            centre[-1] = lower[-1] = upper[-1] = _LEAST_NOISE
        return cls(centre, width, lower, upper)


@dataclass(frozen=True)
class Posterior:
    """What measurements say about a smooth function of mixture and scale, in units of their spread.

    Args:
        inputs: the m rows that predictions refer to: all of them, or the inducing ones.
        weights: the mean is ``covariance(query, inputs) @ weights``, shape (m,).
        factor: lower Cholesky factor (m, m) of their covariance; with noise where ``inner`` is None.
        inner: of an approximation, the factor (m, m) of I + V V' (Rasmussen & Williams, section 8.3.4).
    """

    kernel: Kernel
    inputs: Inputs
    weights: Float[np.ndarray, " m"]
    factor: Float[np.ndarray, "m m"]
    inner: Float[np.ndarray, "m m"] | None

    def mean_and_variance(self, query: Inputs) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """Of a new measurement at each row of ``query``, noise included."""
        cross = self.kernel.covariance(query, self.inputs)
        seen = solve_triangular(self.factor, cross.T, lower=True, check_finite=False)
        known = (seen**2).sum(axis=0)
        if self.inner is not None:
            known -= (solve_triangular(self.inner, seen, lower=True, check_finite=False) ** 2).sum(axis=0)
        unknown = np.maximum(self.kernel.variance(query) - known, 0.0)
        return cross @ self.weights, unknown + self.kernel.noise + self.kernel.run

    def mean_and_slope(self, query: Inputs) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n k"]]:
        """The mean and its derivative by x, without the variance."""
        mean = self.kernel.covariance(query, self.inputs) @ self.weights
        return mean, self.kernel.mixture_slope(query, self.inputs, self.weights)


def negative_log_posterior(
    theta: Float[np.ndarray, " m"], inputs: Inputs, z: Float[np.ndarray, " n"], prior: Prior
) -> tuple[float, Float[np.ndarray, " m"]]:
    """The module's objective (without constants) and its gradient; infinite where the matrix is not positive."""
    covariance = noisy_covariance(theta, inputs)
    factor, failed = _potrf(covariance.matrix, lower=1, clean=1)
    if failed:
        return np.inf, np.zeros_like(theta)
    half, _ = _potri(factor, lower=1)
    inverse = np.tril(half) + np.tril(half, -1).T
    alpha = inverse @ z
    away = (theta - prior.centre) / prior.width
    value = z @ alpha / 2 + np.log(np.diag(factor)).sum() + away @ away / 2
    gradient = covariance.contract((inverse - np.outer(alpha, alpha)) / 2) + away / prior.width
    return float(value), gradient


def fit_hyper_parameters(inputs: Inputs, z: Float[np.ndarray, " n"], prior: Prior) -> Float[np.ndarray, " m"]:
    """theta with the least objective that L-BFGS-B reaches from the centre of the prior. Deterministic."""
    bounds = list(zip(prior.lower, prior.upper, strict=True))
    found = minimize(
        negative_log_posterior,
        prior.centre,
        args=(inputs, z, prior),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": _MAX_STEPS},
    )
    return np.asarray(found.x)


def condition(kernel: Kernel, inputs: Inputs, z: Float[np.ndarray, " n"], mixture: Int[np.ndarray, " n"]) -> Posterior:
    """The posterior given all rows: exact, or projected where there are more than ``EXACT_ROWS``."""
    if len(inputs) <= EXACT_ROWS:
        factor = _noisy_factor(kernel, inputs)
        return Posterior(kernel, inputs, cho_solve((factor, True), z), factor, None)
    few, factor, white, inner = _project(kernel, inputs, mixture)
    right = white @ _whiten(kernel, inputs.run, z[:, None])[:, 0]
    weights = solve_triangular(factor.T, cho_solve((inner, True), right))
    return Posterior(kernel, few, weights, factor, inner)


def restore(
    kernel: Kernel, inputs: Inputs, weights: Float[np.ndarray, " m"], mixture: Int[np.ndarray, " n"]
) -> Posterior:
    """The posterior that :func:`condition` gave, from its weights: the factors depend on the inputs alone."""
    if len(inputs) <= EXACT_ROWS:
        return Posterior(kernel, inputs, weights, _noisy_factor(kernel, inputs), None)
    few, factor, _, inner = _project(kernel, inputs, mixture)
    return Posterior(kernel, few, weights, factor, inner)


def _noisy_factor(kernel: Kernel, inputs: Inputs) -> np.ndarray:
    return cholesky(kernel.covariance(inputs, inputs) + kernel.noise_matrix(inputs), lower=True)


def _project(kernel: Kernel, inputs: Inputs, mixture: np.ndarray) -> tuple[Inputs, np.ndarray, np.ndarray, np.ndarray]:
    """(inducing rows, factor L of their covariance, V = L^-1 K_mn noise^-1/2 (m, n), factor of I + V V')."""
    few = inputs.take(spread_rows(inputs.s, mixture, INDUCING_ROWS))
    own = kernel.covariance(few, few)
    factor = cholesky(own + _JITTER * np.diag(np.diag(own)), lower=True)
    seen = solve_triangular(factor, kernel.covariance(few, inputs), lower=True)
    white = _whiten(kernel, inputs.run, seen.T).T
    return few, factor, white, cholesky(np.eye(len(few)) + white @ white.T, lower=True)


def _whiten(kernel: Kernel, run: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(noise I + run G)^-1/2 times ``rows`` (n, c), with G_ij = 1 for two rows of one run.

    On the mean of a run of c rows the matrix is noise + c run, on what is left noise.
    """
    _, label, count = np.unique(run, return_inverse=True, return_counts=True)
    label = label.reshape(-1)
    total = np.zeros((len(count), rows.shape[1]))
    np.add.at(total, label, rows)
    mean = total / count[:, None]
    shrink = 1 / np.sqrt(kernel.noise + count * kernel.run) - 1 / np.sqrt(kernel.noise)
    return rows / np.sqrt(kernel.noise) + (shrink[:, None] * mean)[label]


def outliers(
    theta: Float[np.ndarray, " m"], inputs: Inputs, z: Float[np.ndarray, " n"], rows: Int[np.ndarray, " f"]
) -> Bool[np.ndarray, " n"]:
    """Rows that the others do not explain: diverged runs, losses in another unit.

    Each of ``rows`` (those that theta was fitted to) is predicted by the others of them, in closed form (Rasmussen &
    Williams, Eq. 5.12); every other row by all of them. Residuals are in predicted deviations.
    """
    if len(rows) < _LEAST_ROWS_FOR_OUTLIERS:
        return np.zeros(len(z), dtype=bool)
    kernel, few = Kernel.of(theta, inputs.x.shape[1]), inputs.take(rows)
    inverse = np.linalg.inv(kernel.covariance(few, few) + kernel.noise_matrix(few))
    residual, deviation = np.empty(len(z)), np.empty(len(z))
    residual[rows], deviation[rows] = (inverse @ z[rows]) / np.diag(inverse), np.diag(inverse) ** -0.5
    rest = np.setdiff1d(np.arange(len(z)), rows)
    if len(rest):
        mean, variance = condition(kernel, few, z[rows], np.arange(len(rows))).mean_and_variance(inputs.take(rest))
        residual[rest], deviation[rest] = z[rest] - mean, np.sqrt(variance)
    residual = residual - np.median(residual)
    size = np.abs(residual) / deviation
    unexplained = size > _UNEXPLAINED * 1.4826 * np.median(size)
    _, others = about_plane(inputs.s[~unexplained], z[~unexplained])
    return np.asarray(unexplained & (np.abs(residual) > _FAR_OUT * others.std()))


def about_plane(s: Float[np.ndarray, "n 2"], v: Float[np.ndarray, " n"]) -> tuple[float, Float[np.ndarray, " n"]]:
    """Value at s = 0 of the least-squares plane in s, and the deviations from the plane."""
    design = np.concatenate([np.ones((len(v), 1)), s], axis=1)
    plane = np.linalg.lstsq(design, v, rcond=1e-10)[0]
    return float(plane[0]), v - design @ plane
