"""A Gaussian process over the square roots of the weights, with automatic relevance, and over N and D where they vary.

For each target z = log y (y itself where values are near or below 0), in units of its spread,

    z ~ GP(constant, K) + noise

with the kernel K of gaussian_process_kernel.py and its hyper-parameters by maximum marginal likelihood with weak priors
(gaussian_process_fit.py; Rasmussen & Williams 2006, chapters 2, 5 and 8). The prediction is exp of the posterior mean,
and its deviation, of a new measurement, follows from the posterior's to first order. With runs of one scale only, the
law is that of a single fidelity and says the same at every scale. An unknown scale counts as the reference, the
geometric mean of the runs'. Where no run is near, the mean returns to that of all runs (of that scale).

Runs that the others do not explain at all (diverged, or in another unit) are left out of the target's fit. A constant
mean is kept on purpose: with the log-linear law as the mean function, unseen mixtures of the public tables were ranked
worse on average, because that law errs more off the runs than it adds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Int

from mixers.gaussian_process_fit import (
    FIT_ROWS,
    Posterior,
    Prior,
    about_plane,
    condition,
    fit_hyper_parameters,
    outliers,
    restore,
)
from mixers.gaussian_process_kernel import EPS, Inputs, Kernel
from mixers.laws.base import FittedLaw, Form, MixingLaw, Needs
from mixers.laws.json_record import Loader, numbers
from mixers.laws.parametric import spread
from mixers.row_subsets import spread_rows
from mixers.types import Observations, Prediction, Scale

# Rows of a prediction that are worked on at once: bounds its memory at some tens of megabytes.
_CHUNK = 2048
# In spreads about the median: values are cut there, so that a diverged run cannot hide by bending the fit.
_FAR = 50.0
# Logarithms are taken where the least healthy value is at least this share of the median: below, they are no losses.
_LEAST_SHARE = 0.05
# Far from every run exp() of a wild extrapolation would overflow; no loss is e^50 times another.
_MAX_LOG = 50.0


@dataclass(frozen=True)
class TargetProcess:
    """One target: y = exp(v) where ``logged`` else v, v = centre + unit * z, and the posterior of z given ``rows``."""

    logged: bool
    centre: float
    unit: float
    theta: Float[np.ndarray, " m"]
    rows: Int[np.ndarray, " r"]
    posterior: Posterior

    def predict(self, query: Inputs) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """Mean and standard deviation of a new measurement at each row."""
        z, variance = self.posterior.mean_and_variance(query)
        mean, std = self._value(z), self.unit * np.sqrt(variance)
        return mean, std * mean if self.logged else std

    def value_and_slope(self, query: Inputs) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n k"]]:
        """Mean and its derivative by x = sqrt(p + EPS)."""
        z, slope = self.posterior.mean_and_slope(query)
        mean = self._value(z)
        return mean, slope * (self.unit * (mean if self.logged else np.ones(len(mean))))[:, None]

    def _value(self, z: np.ndarray) -> np.ndarray:
        v = self.centre + self.unit * z
        return np.exp(np.clip(v, -_MAX_LOG, _MAX_LOG)) if self.logged else v

    def to_dict(self) -> dict[str, Any]:
        return {
            "logged": self.logged,
            "centre": self.centre,
            "unit": self.unit,
            "theta": numbers(self.theta),
            "rows": self.rows.tolist(),
            "weights": numbers(self.posterior.weights),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any], inputs: Inputs, mixture: np.ndarray) -> TargetProcess:
        theta, rows = np.array(data["theta"]), np.array(data["rows"], dtype=np.int64)
        kernel = Kernel.of(theta, inputs.x.shape[1])
        posterior = restore(kernel, inputs.take(rows), np.array(data["weights"]), mixture[rows])
        return cls(bool(data["logged"]), float(data["centre"]), float(data["unit"]), theta, rows, posterior)


@dataclass(frozen=True)
class FittedGaussianProcess(FittedLaw):
    """One process a target, over the same runs: p (n, k), s (n, 2), run (n,), mixture (n,), reference log (N0, D0).

    An axis of ``reference`` is NaN where it was not known or did not vary. Each factor of a posterior follows from the
    runs and the hyper-parameters, so JSON carries these and the weights of the means only.
    """

    law: ClassVar[str] = "gaussian_process"
    domain_names: tuple[str, ...]
    target_names: tuple[str, ...]
    p: Float[np.ndarray, "n k"]
    inputs: Inputs
    mixture: Int[np.ndarray, " n"]
    reference: Float[np.ndarray, " 2"]
    processes: tuple[TargetProcess, ...]

    @property
    def form(self) -> Form:
        return Form.SMOOTH

    def predict(self, p: Float[np.ndarray, "*batch k"], scale: Scale) -> Prediction:
        batch = p.shape[:-1]
        params, tokens = (np.reshape(axis, -1) for axis in scale.broadcast(batch))
        query = _inputs(p.reshape(-1, p.shape[-1]), _log_ratio(params, tokens, self.reference))
        mean = np.empty((len(query), len(self.processes)))
        std = np.empty_like(mean)
        for first in range(0, len(query), _CHUNK):
            rows = np.arange(first, min(first + _CHUNK, len(query)))
            part = query.take(rows)
            for j, process in enumerate(self.processes):
                mean[rows, j], std[rows, j] = process.predict(part)
        shape = (*batch, len(self.processes))
        return Prediction(mean.reshape(shape), std.reshape(shape))

    def value_and_gradient(
        self, p: Float[np.ndarray, " k"], scale: Scale
    ) -> tuple[Float[np.ndarray, " t"], Float[np.ndarray, "t k"]]:
        """Means and their derivatives; that of sqrt(p + EPS) is finite down to a share of 0."""
        params, tokens = (np.reshape(axis, -1) for axis in scale.broadcast(()))
        query = _inputs(p[None], _log_ratio(params, tokens, self.reference))
        parts = [process.value_and_slope(query) for process in self.processes]
        value = np.array([mean[0] for mean, _ in parts])
        slope = np.stack([by_root[0] for _, by_root in parts])
        return value, slope / (2 * query.x[0])

    def to_dict(self) -> dict[str, Any]:
        return self.head() | {
            "p": numbers(self.p),
            "s": numbers(self.inputs.s),
            "run": self.inputs.run.tolist(),
            "mixture": self.mixture.tolist(),
            "reference": [None if np.isnan(x) else x for x in self.reference.tolist()],
            "processes": [process.to_dict() for process in self.processes],
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any], load: Loader | None = None) -> FittedGaussianProcess:
        del load  # it has no parts
        p, run = np.array(data["p"]), np.array(data["run"], dtype=np.int64)
        inputs = _inputs(p, np.array(data["s"]), run)
        mixture = np.array(data["mixture"], dtype=np.int64)
        reference = np.array([np.nan if x is None else x for x in data["reference"]], dtype=float)
        processes = tuple(TargetProcess.from_dict(part, inputs, mixture) for part in data["processes"])
        return cls(tuple(data["domains"]), tuple(data["targets"]), p, inputs, mixture, reference, processes)


@dataclass(frozen=True)
class GaussianProcess(MixingLaw):
    """Exact regression up to 768 runs, projected onto 512 of them beyond."""

    name: ClassVar[str] = "gaussian_process"
    summary: ClassVar[str] = "a Gaussian process on the square roots of the weights, and on N and D"
    needs: ClassVar[Needs] = Needs(lambda k: 3, "a level, a spread and its noise must all be held by data")
    knows_params: ClassVar[bool] = True
    knows_tokens: ClassVar[bool] = True
    robust: ClassVar[int] = 4

    def fit(self, runs: Observations, rng: np.random.Generator) -> FittedGaussianProcess:
        del rng  # starts and subsets are fixed
        self.check_enough(runs)
        reference = _reference(runs)
        s = _log_ratio(runs.model_params, runs.train_tokens, reference)
        by_mixture = _labels(np.round(runs.p, 9))
        by_run = _labels(np.stack([by_mixture, s[:, 0]], axis=1)) if np.ptp(s[:, 1]) > 0 else np.arange(len(runs))
        inputs = _inputs(runs.p, s, by_run)
        processes = tuple(_fit_target(inputs, by_mixture, runs.losses[:, j]) for j in range(len(runs.targets)))
        names = runs.domains.names, runs.targets.names
        return FittedGaussianProcess(*names, runs.p, inputs, by_mixture, reference, processes)


def _inputs(p: np.ndarray, s: np.ndarray, run: np.ndarray | None = None) -> Inputs:
    # A solver's finite steps may leave a weight a hair below 0.
    return Inputs(np.sqrt(np.maximum(p, 0.0) + EPS), s, np.zeros(len(p), dtype=np.int64) if run is None else run)


def _labels(keys: np.ndarray) -> np.ndarray:
    """An integer a row, equal for equal rows of ``keys``."""
    return np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _reference(runs: Observations) -> np.ndarray:
    """log (N0, D0): means of the known values; NaN for an axis that is not known or does not vary."""
    logs = [np.log(axis[np.isfinite(axis)]) for axis in (runs.model_params, runs.train_tokens)]
    return np.array([x.mean() if len(x) and np.ptp(x) > 1e-6 else np.nan for x in logs])


def _log_ratio(params: np.ndarray, tokens: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """s (n, 2): log N/N0 and log D/D0, 0 for what is not known or has no reference."""
    return np.nan_to_num(np.log(np.stack([params, tokens], axis=1)) - reference)


def _fit_target(inputs: Inputs, mixture: np.ndarray, losses: np.ndarray) -> TargetProcess:
    """On the rows where it was measured, without those that the others do not explain."""
    rows = np.flatnonzero(~np.isnan(losses))
    logged = bool(losses[rows].min() > _LEAST_SHARE * np.median(losses[rows]))
    v = np.log(losses[rows]) if logged else losses[rows]
    reach = _FAR * float(spread(v[:, None])[0])
    v = np.clip(v, np.median(v) - reach, np.median(v) + reach)
    units = _standardised(inputs.take(rows), v)
    theta, used = _hyper_parameters(inputs.take(rows), mixture[rows], units.z)
    flagged = outliers(theta, inputs.take(rows), units.z, used)
    if flagged.any():
        rows = rows[~flagged]
        units = _standardised(inputs.take(rows), v[~flagged])
        theta, _ = _hyper_parameters(inputs.take(rows), mixture[rows], units.z)
    kernel = Kernel.of(theta, inputs.x.shape[1])
    posterior = condition(kernel, inputs.take(rows), units.z, mixture[rows])
    return TargetProcess(logged, units.centre, units.unit, theta, rows, posterior)


@dataclass(frozen=True)
class _Standardised:
    z: np.ndarray
    centre: float
    unit: float


def _standardised(inputs: Inputs, v: np.ndarray) -> _Standardised:
    """z with mean 0 at the reference scale and deviation 1 about a plane in log N and log D."""
    centre, deviation = about_plane(inputs.s, v)
    unit = float(np.std(deviation))
    # A deviation of rounding errors is a constant target: dividing by it would turn noise into signal.
    unit = unit if unit > 1e-9 * max(1e-9, float(np.abs(v).max())) else 1.0
    return _Standardised((v - centre) / unit, centre, unit)


def _hyper_parameters(inputs: Inputs, mixture: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """theta, and the rows that it was fitted to."""
    used = spread_rows(inputs.s, mixture, FIT_ROWS)
    few = inputs.take(used)
    return fit_hyper_parameters(few, z[used], Prior.of(few)), used
