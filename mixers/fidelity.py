"""How well a law predicts runs that it has not seen.

Out of fold: the runs are cut into folds by *mixture*, so that checkpoints and repeats of one mixture never stand on
both sides; each fold is predicted by a law fitted to the others. Ranks are taken inside groups of equal (N, D): pooled
over scales, a rank correlation measures only that larger models have lower losses.

    Spearman   mean over scale groups, weighted by their runs
    MAE        mean |y - prediction|
    R2         1 - sum (y - prediction)^2 / sum (y - m)^2, with m the mean of the scale group
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from mixers.errors import InvalidInput, MixError
from mixers.laws import CalibratedLaw, find_law
from mixers.laws.base import FittedLaw
from mixers.laws.calibrated import Z90, conformal_factor, error_correlation
from mixers.types import Observations, Prediction

OnProgress = Callable[[float, str], None]

# A rank correlation of fewer points says nothing.
_MIN_GROUP = 4
# Laws whose rank correlation differs by less than this rank alike; then the smaller error decides.
TIE = 0.01


@dataclass(frozen=True)
class LawReport:
    """One law, out of fold. Values that are not defined are NaN.

    Args:
        skipped: why the law could not be judged; then everything else is empty.
        spearman, mae, r2: one a target, shape (t,). The ``objective_`` ones are of the weighted mean of the targets.
        coverage90: share of runs inside of their calibrated nominal 90 % interval, over all targets.
        out_of_fold: prediction of every run by a law that has not seen its mixture, shape (n, t); std is calibrated.
        calibration: factors on the law's own std (t,); correlation: of its errors between targets (t, t).
    """

    law: str
    skipped: str | None
    spearman: Float[np.ndarray, " t"]
    mae: Float[np.ndarray, " t"]
    r2: Float[np.ndarray, " t"]
    objective_spearman: float = np.nan
    objective_mae: float = np.nan
    objective_r2: float = np.nan
    coverage90: float = np.nan
    fit_seconds: float = np.nan
    out_of_fold: Prediction | None = None
    calibration: Float[np.ndarray, " t"] | None = None
    correlation: Float[np.ndarray, "t t"] | None = None


@dataclass(frozen=True)
class Comparison:
    """Reports in the order that was asked for, the law that deserves trust, and why."""

    reports: tuple[LawReport, ...]
    choice: str
    reason: str

    def report(self, law: str) -> LawReport:
        """The report of the named law."""
        for report in self.reports:
            if report.law == law:
                return report
        raise InvalidInput(f"the comparison holds no law {law!r}; it holds {', '.join(r.law for r in self.reports)}")


def compare(
    runs: Observations,
    laws: Sequence[str],
    rng: np.random.Generator,
    folds: int = 5,
    on_progress: OnProgress | None = None,
) -> Comparison:
    """Judge each law out of fold and choose one.

    Args:
        laws: registry names. A law that cannot be fitted to these runs is reported as skipped, with its reason.
        folds: at most; never more than there are mixtures.
        on_progress: called with the share that is done and the law at work.

    Raises:
        InvalidInput: unknown law, a target without a single value, or fewer than two mixtures.
        TooFewRuns: no law at all can be fitted.
    """
    if not laws:
        raise InvalidInput("name at least one law")
    for name in laws:
        find_law(name)
    _check_runs(runs)
    fold = fold_by_mixture(runs, folds, rng)
    seeds = rng.integers(2**63, size=len(laws))
    reports = []
    for i, name in enumerate(laws):

        def progress(part: float, i: int = i, name: str = name) -> None:
            if on_progress is not None:
                on_progress((i + part) / len(laws), name)

        progress(0.0)
        reports.append(_judge(name, runs, fold, int(seeds[i]), progress))
    if on_progress is not None:
        on_progress(1.0, "done")
    return _choose(tuple(reports))


def fit_calibrated(report: LawReport, runs: Observations, rng: np.random.Generator) -> FittedLaw:
    """The reported law fitted to all runs, its standard deviations calibrated by its out-of-fold errors."""
    if report.skipped is not None or report.calibration is None or report.correlation is None:
        raise InvalidInput(f"{report.law} was skipped: {report.skipped}")
    fitted = find_law(report.law).fit(runs, rng)
    return CalibratedLaw(runs.domains.names, runs.targets.names, fitted, report.calibration, report.correlation)


def fold_by_mixture(runs: Observations, folds: int, rng: np.random.Generator) -> Int[np.ndarray, " n"]:
    """A fold a run, equal for runs of one mixture (same ``mix_id`` or same weights)."""
    mixture = _mixtures(runs)
    count = int(mixture.max()) + 1
    order = rng.permutation(count) % min(folds, count)
    return order[mixture].astype(np.int64)


def spearman_within(
    observed: Float[np.ndarray, " n"], predicted: Float[np.ndarray, " n"], group: Int[np.ndarray, " n"]
) -> float:
    """Spearman's rank correlation inside each group of 4 or more, weighted by size; NaN when there is none.

    A prediction that is constant inside of a group ranks nothing and counts as 0.
    """
    total, weight = 0.0, 0
    for g in np.unique(group):
        rows = (group == g) & np.isfinite(observed) & np.isfinite(predicted)
        size = int(rows.sum())
        if size < _MIN_GROUP or np.ptp(observed[rows]) == 0:
            continue
        total += size * _rank_correlation(observed[rows], predicted[rows])
        weight += size
    return total / weight if weight else float("nan")


def _rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    # Predictions that differ by rounding only are equal, else a constant law gets a rank by chance.
    ranks = [_ranks(np.round(x, 12)) for x in (a, b)]
    centred = [r - r.mean() for r in ranks]
    size = np.sqrt((centred[0] ** 2).sum() * (centred[1] ** 2).sum())
    return float((centred[0] * centred[1]).sum() / size) if size > 0 else 0.0


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1; equal values share the mean of theirs. (scipy.stats has it, and takes two seconds to import.)"""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse.reshape(-1)]


def r2_within(
    observed: Float[np.ndarray, " n"], predicted: Float[np.ndarray, " n"], group: Int[np.ndarray, " n"]
) -> float:
    """1 - SSE / SST with SST about the mean of each group; NaN when nothing varies."""
    rows = np.isfinite(observed) & np.isfinite(predicted)
    error, total = 0.0, 0.0
    for g in np.unique(group[rows]):
        here = rows & (group == g)
        error += float(((observed[here] - predicted[here]) ** 2).sum())
        total += float(((observed[here] - observed[here].mean()) ** 2).sum())
    return 1 - error / total if total > 0 else float("nan")


def objective_values(
    losses: Float[np.ndarray, "*batch t"], weights: Float[np.ndarray, " t"]
) -> Float[np.ndarray, "*batch"]:
    """The weighted mean of the targets; NaN where one with positive weight is missing."""
    share = weights / weights.sum()
    used = share > 0
    return np.asarray(losses[..., used] @ share[used])


def _mixtures(runs: Observations) -> np.ndarray:
    """Like ``mixture_groups``, and rows of equal weights share a mixture whatever their ids."""
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
            return np.unique(group, return_inverse=True)[1].reshape(-1)
        group = lowest


def _check_runs(runs: Observations) -> None:
    if len(runs) == 0:
        raise InvalidInput("there are no runs; a comparison needs runs of at least 2 mixtures")
    missing = np.isnan(runs.losses).all(axis=0)
    if missing.any():
        name = runs.targets.names[int(np.argmax(missing))]
        raise InvalidInput(f"target {name!r} was measured in none of {len(runs)} runs")
    if _mixtures(runs).max() == 0:
        raise InvalidInput(
            f"all {len(runs)} runs have the same mixture; nothing can be learned about mixtures from one of them"
        )


def _judge(name: str, runs: Observations, fold: np.ndarray, seed: int, progress: Callable[[float], None]) -> LawReport:
    started = time.perf_counter()
    empty = np.full(len(runs.targets), np.nan)
    mean, std = np.full(runs.losses.shape, np.nan), np.full(runs.losses.shape, np.nan)
    count = int(fold.max()) + 1
    try:
        for f in range(count):
            held = fold == f
            fitted = find_law(name).fit(runs.rows(~held), np.random.default_rng([seed, f]))
            part = fitted.predict(runs.p[held], runs.rows(held).scale)
            mean[held], std[held] = part.mean, part.std
            progress((f + 1) / count)
    except MixError as error:
        return LawReport(name, str(error), empty, empty, empty)
    seconds = time.perf_counter() - started
    z = (runs.losses - mean) / np.maximum(std, 1e-12)
    calibration = conformal_factor(z)
    return _report(name, runs, Prediction(mean, std * calibration), calibration, error_correlation(z), seconds)


def _report(
    name: str,
    runs: Observations,
    out_of_fold: Prediction,
    calibration: np.ndarray,
    correlation: np.ndarray,
    seconds: float,
) -> LawReport:
    group = runs.scale_groups
    columns = range(len(runs.targets))
    y, guess = runs.losses, out_of_fold.mean
    objective = objective_values(y, runs.targets.weights)
    predicted = objective_values(guess, runs.targets.weights)
    inside = np.abs(y - guess) <= Z90 * out_of_fold.std + 1e-12
    measured = ~np.isnan(objective)
    return LawReport(
        law=name,
        skipped=None,
        spearman=np.array([spearman_within(y[:, j], guess[:, j], group) for j in columns]),
        mae=np.nanmean(np.abs(y - guess), axis=0),
        r2=np.array([r2_within(y[:, j], guess[:, j], group) for j in columns]),
        objective_spearman=spearman_within(objective, predicted, group),
        objective_mae=float(np.abs(objective - predicted)[measured].mean()) if measured.any() else np.nan,
        objective_r2=r2_within(objective, predicted, group),
        coverage90=float(inside[~np.isnan(y)].mean()),
        fit_seconds=seconds,
        out_of_fold=out_of_fold,
        calibration=calibration,
        correlation=correlation,
    )


def _choose(reports: tuple[LawReport, ...]) -> Comparison:
    judged = [report for report in reports if report.skipped is None]
    if not judged:
        raise InvalidInput("no law could be fitted: " + "; ".join(f"{r.law}: {r.skipped}" for r in reports))
    ranks = {r.law: np.nan_to_num(r.objective_spearman, nan=-1.0) for r in judged}
    best = max(ranks.values())
    tied = [r for r in judged if ranks[r.law] >= best - TIE]
    chosen = min(tied, key=lambda r: r.objective_mae if np.isfinite(r.objective_mae) else np.inf)
    if np.isnan(chosen.objective_spearman):
        reason = "too few runs of one scale to rank; it has the smallest error out of fold"
    elif len(tied) == 1:
        reason = f"it ranks unseen mixtures best (Spearman {chosen.objective_spearman:.3f} out of fold)"
    else:
        others = ", ".join(r.law for r in tied if r is not chosen)
        reason = (
            f"it ranks unseen mixtures within {TIE} of the best (Spearman {chosen.objective_spearman:.3f} out of fold) "
            f"and has a smaller error than {others}"
        )
    if np.isfinite(chosen.objective_r2) and chosen.objective_r2 <= 0:
        reason += "; it does not predict better than the mean of the runs: do not act on it"
    return Comparison(reports, chosen.law, reason)
