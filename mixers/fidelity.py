"""How well each law predicts runs that it has not seen, and which law deserves trust.

Out of fold: the runs are cut into folds by mixture (folds.py), and each is predicted by a law fitted to the others.
Laws that combine others (combination.py) are judged like the rest: their shares are earned without the fold that they
are judged on. Agreement is taken inside groups of equal (N, D), see agreement.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mixers.agreement import objective_values, spearman_within
from mixers.errors import InvalidInput
from mixers.folds import fold_by_mixture, mixture_labels
from mixers.law_report import LawReport, report_of
from mixers.laws import LAWS, CalibratedLaw, Combination, find_law
from mixers.laws.base import FittedLaw, MixingLaw
from mixers.laws.combination import blend, gather, wanted_fits
from mixers.laws.cross_fit import CrossFit, Guess, LeftOut, RunTasks, in_turn
from mixers.noise_floor import NoiseFloor, noise_floor
from mixers.outliers import Outlier, unexplained, without_diverged
from mixers.time_budget import within_budget
from mixers.types import Observations

OnProgress = Callable[[float, str], None]

# Laws whose rank correlation differs by less than this rank alike; then the smaller error decides.
TIE = 0.01
# A target with fewer values would keep every law but the mean from being fitted, for all other targets too.
_LEAST_MEASURED = 4


@dataclass(frozen=True)
class Comparison:
    """Reports in the order that was asked for, the law that deserves trust, why, and what is odd about the runs.

    Args:
        runs: the runs that laws are to be fitted to: without the measurements in ``diverged``.
        suspects: measurements that all laws miss by far; they stay in the fits.
    """

    reports: tuple[LawReport, ...]
    choice: str
    reason: str
    runs: Observations
    diverged: tuple[Outlier, ...]
    suspects: tuple[Outlier, ...]
    noise: NoiseFloor

    def report(self, law: str) -> LawReport:
        """The report of the named law."""
        for report in self.reports:
            if report.law == law:
                return report
        raise InvalidInput(f"the comparison holds no law {law!r}; it holds {', '.join(r.law for r in self.reports)}")

    def price_of(self, report: LawReport) -> str:
        """What a law that chooses among others costs or gains against the best of them, which nobody knew before."""
        single = [r for r in self.reports if r.skipped is None and r.shares is None]
        best = max(single, key=lambda r: np.nan_to_num(r.objective.spearman, nan=-1.0), default=None)
        if best is None or not np.isfinite(best.objective.spearman):
            return "there is no single law with a rank to compare it to"
        step = report.objective.spearman - best.objective.spearman
        return (
            f"the best single law in hindsight, {best.law}, has Spearman {best.objective.spearman:.3f} out of fold, "
            f"{'a price of' if step < 0 else 'a gain of'} {abs(step):.3f}"
        )


def compare(
    runs: Observations,
    laws: Sequence[str],
    rng: np.random.Generator,
    folds: int = 5,
    on_progress: OnProgress | None = None,
    run_tasks: RunTasks = in_turn,
    seconds: float | None = None,
) -> Comparison:
    """Judge each law out of fold and choose one.

    Args:
        laws: registry names. A law that cannot be fitted to these runs is reported as skipped, with its reason.
        folds: at most; never more than there are mixtures.
        on_progress: called with the share that is done and the law at work.
        run_tasks: makes many fits, like map; a pool of processes makes them side by side.
        seconds: what the comparison may take; the dearest laws are left out, and reported so. None for no limit.

    Raises:
        InvalidInput: unknown law, a target without a single value, or fewer than two mixtures.
        TooFewRuns: no law at all can be fitted.
    """
    if not laws:
        raise InvalidInput("name at least one law")
    asked = [find_law(name) for name in laws]
    _check_runs(runs)
    clean, diverged = without_diverged(runs)
    _check_runs(clean)
    fold = fold_by_mixture(clean, folds, rng)
    on_progress = on_progress or (lambda done, what: None)
    on_progress(0.0, "measuring the laws" if seconds is not None else asked[0].name)
    cross = CrossFit(clean, fold, int(rng.integers(2**62)), run_tasks)
    affordable = within_budget(cross, _members_of(asked), any(_is_combined(law) for law in asked), seconds)
    reports = _judge_all(cross, asked, affordable.left_out, on_progress)
    choice, reason = _choose(reports)
    suspects = unexplained(clean, _good_guesses(reports))
    return Comparison(reports, choice, reason, clean, diverged, suspects, noise_floor(clean))


def fit_calibrated(report: LawReport, runs: Observations, rng: np.random.Generator) -> FittedLaw:
    """The reported law fitted to all runs, its standard deviations calibrated by its out-of-fold errors.

    ``runs`` are those of the comparison: without what had diverged. The shares of a combination are the reported ones.
    """
    if report.skipped is not None or report.calibration is None or report.correlation is None:
        raise InvalidInput(f"{report.law} was skipped: {report.skipped}")
    law = find_law(report.law)
    if isinstance(law, Combination) and report.shares is not None:
        fitted: FittedLaw = law.fit_with(report.shares, runs, rng)
    else:
        fitted = law.fit(runs, rng)
    return CalibratedLaw(runs.domains.names, runs.targets.names, fitted, report.calibration, report.correlation)


def _members_of(asked: Sequence[MixingLaw]) -> list[MixingLaw]:
    """The laws that have to be fitted for what was asked, each once, in the order of the registry."""
    names = {law.name for one in asked for law in (one.members if isinstance(one, Combination) else (one,))}
    return [LAWS[name] for name in LAWS if name in names]


def _is_combined(law: MixingLaw) -> bool:
    return isinstance(law, Combination)


def _check_runs(runs: Observations) -> None:
    if len(runs) == 0:
        raise InvalidInput("there are no runs; a comparison needs runs of at least 2 mixtures")
    missing = np.isnan(runs.losses).all(axis=0)
    if missing.any():
        name = runs.targets.names[int(np.argmax(missing))]
        raise InvalidInput(f"target {name!r} was measured in none of {len(runs)} runs")
    measured, count = runs.runs_measured, len(set(runs.of_run))
    rare = int(np.argmin(measured))
    if measured[rare] < min(_LEAST_MEASURED, count):
        raise InvalidInput(
            f"target {runs.targets.names[rare]!r} was measured in {measured[rare]} of {count} runs, too few to "
            f"judge any law by; measure it in {_LEAST_MEASURED} or more, or leave the target out"
        )
    if mixture_labels(runs).max() == 0:
        raise InvalidInput(
            f"all {len(runs)} runs have the same mixture; nothing can be learned about mixtures from one of them"
        )


def _judge_all(
    cross: CrossFit, asked: Sequence[MixingLaw], left_out: dict[str, str], on_progress: OnProgress
) -> tuple[LawReport, ...]:
    members = [law for law in _members_of(asked) if law.name not in left_out]
    combined = any(_is_combined(law) for law in asked)
    _prepare(cross, members, combined, on_progress)
    reports = []
    for law in asked:
        if isinstance(law, Combination):
            kept = tuple(member for member in law.members if member.name not in left_out)
            reports.append(_judge_combination(law, kept, cross))
        elif law.name in left_out:
            reports.append(LawReport(law.name, left_out[law.name]))
        else:
            reports.append(_judge(law, cross))
    on_progress(1.0, "done")
    return tuple(reports)


def _prepare(cross: CrossFit, members: Sequence[MixingLaw], combined: bool, on_progress: OnProgress) -> None:
    """Make all fits at once: by fold, for a steady progress, and simple laws last, so that a pool ends together."""
    members = tuple(reversed(members))
    wanted: list[tuple[MixingLaw, LeftOut]] = [(law, left) for left in cross.judging() for law in members]
    transfer = cross.transfer()
    if transfer is not None:
        wanted += [(law, transfer) for law in members]
    if combined:
        for f in range(cross.folds):
            wanted += wanted_fits(cross, members, without=f)
    done = 0

    def count(law: MixingLaw) -> None:
        nonlocal done
        done += 1
        on_progress(min(done / max(len(wanted), 1), 1.0), law.name)

    cross.prepare(wanted, count)


def _judge(law: MixingLaw, cross: CrossFit) -> LawReport:
    guess = cross.out_of_fold(law)
    if guess.problem is not None:
        return LawReport(law.name, guess.problem)
    return report_of(law, guess, cross, _transfer(law, cross), None)


def _transfer(law: MixingLaw, cross: CrossFit) -> float:
    left = cross.transfer()
    if left is None:
        return float("nan")
    guess, rows = cross.guess(law, left), cross.largest
    weights = cross.runs.targets.weights
    measured, predicted = (objective_values(y, weights)[rows] for y in (cross.runs.losses, guess.mean))
    return spearman_within(measured, predicted, cross.runs.scale_groups[rows])


def _judge_combination(law: Combination, members: tuple[MixingLaw, ...], cross: CrossFit) -> LawReport:
    """Each fold predicted with shares that were earned without it."""
    if cross.folds < 3:
        return LawReport(
            law.name, f"{law.name} needs 3 or more folds: its shares are earned without the one it predicts"
        )
    started = time.perf_counter()
    shape = cross.runs.losses.shape
    mean, std = np.full(shape, np.nan), np.full(shape, np.nan)
    try:
        shares = law.weigh(gather(cross, members))
        by_name = {member.name: member for member in members}
        for f in range(cross.folds):
            inner = law.weigh(gather(cross, members, without=f))
            rows = cross.fold == f
            guesses = [cross.guess(by_name[name], LeftOut(frozenset({f}))) for name in inner.members]
            part = blend([g.mean[rows] for g in guesses], [g.std[rows] for g in guesses], inner)
            mean[rows], std[rows] = part.mean, part.std
    except InvalidInput as error:
        return LawReport(law.name, str(error))
    seconds = time.perf_counter() - started
    return report_of(law, Guess(mean, std, seconds), cross, float("nan"), shares)


def _good_guesses(reports: tuple[LawReport, ...]) -> list[np.ndarray]:
    """Out-of-fold means of the laws that err at most twice as much as the best."""
    judged = [r for r in reports if r.out_of_fold is not None and np.isfinite(r.objective.mae)]
    least = min((r.objective.mae for r in judged), default=np.nan)
    return [r.out_of_fold.mean for r in judged if r.out_of_fold is not None and r.objective.mae <= 2 * least]


def _choose(reports: tuple[LawReport, ...]) -> tuple[str, str]:
    """The name of the law that deserves trust, and why."""
    judged = [report for report in reports if report.skipped is None]
    if not judged:
        raise InvalidInput("no law could be fitted: " + "; ".join(f"{r.law}: {r.skipped}" for r in reports))
    ranks = {r.law: np.nan_to_num(r.objective.spearman, nan=-1.0) for r in judged}
    best = max(ranks.values())
    tied = [r for r in judged if ranks[r.law] >= best - TIE]
    chosen = min(tied, key=lambda r: r.objective.mae if np.isfinite(r.objective.mae) else np.inf)
    rank = chosen.objective.spearman
    if np.isnan(rank):
        reason = "too few runs of one scale to rank; it has the smallest error out of fold"
    elif len(tied) == 1:
        reason = f"it ranks unseen mixtures best (Spearman {rank:.3f} out of fold)"
    else:
        others = ", ".join(r.law for r in tied if r is not chosen)
        reason = (
            f"it ranks unseen mixtures within {TIE} of the best (Spearman {rank:.3f} out of fold) "
            f"and has a smaller error than {others}"
        )
    if np.isfinite(chosen.objective.r2) and chosen.objective.r2 <= 0:
        reason += "; it does not predict better than the mean of the runs: do not act on it"
    return chosen.law, reason
