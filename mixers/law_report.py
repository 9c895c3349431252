"""One law's report: its out-of-fold predictions against the measured losses."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from mixers.agreement import (
    objective_values,
    pearson_within,
    r2_within,
    regret_within,
    relative_error,
    spearman_within,
)
from mixers.folds import mixture_labels
from mixers.laws.base import MixingLaw
from mixers.laws.calibrated import Z90, conformal_factor, error_correlation
from mixers.laws.combination import Shares
from mixers.laws.cross_fit import CrossFit, Guess
from mixers.types import Prediction


@dataclass(frozen=True)
class Agreement:
    """Predicted against measured, of one target or of the weighted mean of all. Undefined figures are NaN."""

    spearman: float = np.nan
    pearson: float = np.nan
    mae: float = np.nan
    relative_error: float = np.nan
    r2: float = np.nan
    regret: float = np.nan
    random_regret: float = np.nan


@dataclass(frozen=True)
class LawReport:
    """One law, out of fold.

    Args:
        skipped: why the law could not be judged; then everything else is empty.
        targets: one agreement a target. objective: of the weighted mean of the targets.
        coverage90: share of runs inside of their nominal 90 % interval, calibrated without their fold; all targets.
        transfer: rank correlation of the objective at the largest scale after a fit without it; NaN with one scale.
        out_of_fold: prediction of every run by a law that has not seen its mixture, shape (n, t); std is calibrated.
        calibration: factors on the law's own std (t,); correlation: of its errors between targets (t, t).
        shares: of a law made of others, what each target is predicted by and why.
    """

    law: str
    skipped: str | None
    targets: tuple[Agreement, ...] = ()
    objective: Agreement = field(default_factory=Agreement)
    coverage90: float = np.nan
    transfer: float = np.nan
    fit_seconds: float = np.nan
    out_of_fold: Prediction | None = None
    calibration: Float[np.ndarray, " t"] | None = None
    correlation: Float[np.ndarray, "t t"] | None = None
    shares: Shares | None = None


def report_of(law: MixingLaw, guess: Guess, cross: CrossFit, transfer: float, shares: Shares | None) -> LawReport:
    runs = cross.runs
    y, group, weights = runs.losses, runs.scale_groups, runs.targets.weights
    z = (y - guess.mean) / np.maximum(guess.std, 1e-12)
    mixture = mixture_labels(runs)
    calibration = conformal_factor(z, int(mixture.max()) + 1)
    objective, predicted = objective_values(y, weights), objective_values(guess.mean, weights)
    return LawReport(
        law=law.name,
        skipped=None,
        targets=tuple(_agreement(y[:, j], guess.mean[:, j], group) for j in range(y.shape[1])),
        objective=_agreement(objective, predicted, group),
        coverage90=_coverage(z, cross.fold, mixture),
        transfer=transfer,
        fit_seconds=guess.seconds,
        out_of_fold=Prediction(guess.mean, guess.std * calibration),
        calibration=calibration,
        correlation=error_correlation(z),
        shares=shares,
    )


def _agreement(observed: np.ndarray, predicted: np.ndarray, group: np.ndarray) -> Agreement:
    error = np.abs(observed - predicted)
    measured = np.isfinite(error)
    regret, random = regret_within(observed, predicted, group)
    return Agreement(
        spearman_within(observed, predicted, group),
        pearson_within(observed, predicted, group),
        float(error[measured].mean()) if measured.any() else float("nan"),
        relative_error(observed, predicted),
        r2_within(observed, predicted, group),
        regret,
        random,
    )


def _coverage(z: Float[np.ndarray, "n t"], fold: np.ndarray, mixture: np.ndarray) -> float:
    """Share of runs inside of their 90 % interval when the factor comes from the other folds."""
    inside, count = 0, 0
    for f in np.unique(fold):
        here = z[fold == f]
        measured = ~np.isnan(here)
        factor = conformal_factor(z[fold != f], len(np.unique(mixture[fold != f])))
        inside += int((np.abs(here) <= Z90 * factor)[measured].sum())
        count += int(measured.sum())
    return inside / count if count else float("nan")
