"""The offline use cases: a swarm folder in, a judged law, a recommendation or predictions out. No server, no output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from app import demands
from app.demands import trade_off
from app.fidelity_answers import odd_measurements
from app.fit_pool import fit_pool
from app.formats.errors import FormatError
from app.formats.queries import Queries
from app.formats.remarks import Remarks, note, warning
from app.formats.swarm_folder import Swarm
from app.law_choice import AUTO, distrust, trusted_report
from app.offline_wishes import Question
from mixers.errors import InvalidInput
from mixers.fidelity import Comparison, compare, fit_calibrated
from mixers.law_report import LawReport
from mixers.laws import LAWS, find_law
from mixers.laws.base import FittedLaw
from mixers.learning_curve import CurvePoint, learning_curve
from mixers.outliers import without_diverged
from mixers.pareto import ParetoFront
from mixers.recommendation import Recommendation, recommend
from mixers.types import Observations, Prediction, Scale

# Runs times targets from which on a pool of processes saves more time than its start takes.
_WORTH_A_POOL = 500
# Judging a law fits it once a fold; the fit on all runs and the search are the rest.
_SHARE_OF_JUDGING = 0.8
_SHARE_OF_FITTING = 0.9

OnProgress = Callable[[float, str], None]


@dataclass(frozen=True)
class TrustedLaw:
    """A law fitted to all runs but what had diverged, how it did out of fold, and why it was taken."""

    fitted: FittedLaw
    report: LawReport
    runs: Observations
    reason: str
    remarks: Remarks


@dataclass(frozen=True)
class Recommended:
    """What is recommended, and the trade-off between target families if it was asked for."""

    best: Recommendation
    front: ParetoFront | None


@dataclass(frozen=True)
class Answers:
    """The predicted targets of queries, shape (m, t), and what was assumed for them."""

    run_ids: tuple[str, ...]
    predicted: Prediction
    remarks: Remarks


def law_names(text: str | None) -> list[str]:
    """The laws of a comma-separated list; every law for None.

    Raises:
        InvalidInput: naming the one that is not known, and those that are.
    """
    if text is None:
        return list(LAWS)
    names = [find_law(name.strip()).name for name in text.split(",")]
    return list(dict.fromkeys(names))


def check_law(name: str) -> None:
    """Refuse a name that is no law."""
    find_law(name)


def judge(
    swarm: Swarm, laws: Sequence[str], seed: int, on_progress: OnProgress, time_budget: float | None = None
) -> Comparison:
    """The fidelity of every law, out of fold.

    Args:
        time_budget: seconds; laws that do not fit into them are left out, and say so.

    Raises:
        MixError: too few runs, none that differ, or a budget that is no time.
    """
    if len(swarm.runs) < 2:
        raise FormatError(f"{swarm.folder / 'runs.csv'} holds one measured run; a law needs runs of several mixtures")
    if time_budget is not None and not 0 < time_budget < np.inf:
        raise InvalidInput(f"--time-budget is {time_budget:g}; it must be a positive number of seconds")
    rng = np.random.default_rng(seed)
    if swarm.runs.losses.size < _WORTH_A_POOL:
        return compare(swarm.runs, laws, rng, on_progress=on_progress, seconds=time_budget)
    with fit_pool() as run_tasks:
        return compare(swarm.runs, laws, rng, on_progress=on_progress, run_tasks=run_tasks, seconds=time_budget)


def how_many_runs(swarm: Swarm, law: str, seed: int) -> tuple[CurvePoint, ...]:
    """The learning curve of a law: its fidelity against the number of mixtures it was fitted to."""
    rng = np.random.default_rng(seed)
    clean, _ = without_diverged(swarm.runs)
    if clean.losses.size < _WORTH_A_POOL:
        return learning_curve(clean, law, rng)
    with fit_pool() as run_tasks:
        return learning_curve(clean, law, rng, run_tasks=run_tasks)


def trusted_law(swarm: Swarm, law: str, seed: int, on_progress: OnProgress) -> TrustedLaw:
    """The named law with calibrated intervals; ``auto`` is chosen beside every other law, and says what that cost.

    Where there are too few runs for ``auto`` it is the best of the laws that can be fitted.
    """
    names = list(LAWS) if law == AUTO else [law]
    comparison = judge(swarm, names, seed, lambda done, what: on_progress(done * _SHARE_OF_JUDGING, what))
    report, reason = trusted_report(comparison, law)
    on_progress(_SHARE_OF_JUDGING, f"{report.law} on all runs")
    fitted = fit_calibrated(report, comparison.runs, np.random.default_rng(seed))
    on_progress(_SHARE_OF_FITTING, "using the law")
    remarks = odd_runs(comparison)
    if (sentence := distrust(report)) is not None:
        remarks += warning(sentence)
    return TrustedLaw(fitted, report, comparison.runs, reason, remarks)


def odd_runs(comparison: Comparison) -> Remarks:
    """Warnings that name what is wrong with single runs."""
    remarks = Remarks()
    for sentence in odd_measurements(comparison):
        remarks += warning(sentence)
    return remarks


def recommend_weights(law: TrustedLaw, question: Question, seed: int) -> Recommended:
    """The best weights under the law, the baselines beside them, and the Pareto front if it was asked for."""
    rng = np.random.default_rng(seed)
    best = recommend(law.fitted, question.problem, law.runs, rng)
    front = trade_off(law.fitted, question.problem, law.runs, rng) if question.wish.pareto else None
    return Recommended(best, front)


def answer(
    swarm: Swarm, law: TrustedLaw, queries: Queries, model_params: float | None, train_tokens: float | None
) -> Answers:
    """Predicted losses of every query at its own scale; what the file does not say is filled by :func:`scale_for`."""
    n, d = queries.model_params.copy(), queries.train_tokens.copy()
    n[np.isnan(n)] = scale_for(swarm.runs, model_params, train_tokens).model_params
    for size in np.unique(n):  # one NaN when no size is known anywhere
        same = np.isnan(n) if np.isnan(size) else n == size
        asked = None if np.isnan(size) else float(size)
        d[same & np.isnan(d)] = scale_for(swarm.runs, asked, train_tokens).train_tokens
    remarks = queries.remarks + _filled("model_params", queries.model_params, n)
    remarks += _filled("train_tokens", queries.train_tokens, d)
    return Answers(queries.run_ids, law.fitted.predict(queries.p, Scale(n, d)), remarks)


def scale_for(runs: Observations, model_params: float | None, train_tokens: float | None) -> Scale:
    """The scale to predict at, see ``demands.scale_for``.

    Raises:
        InvalidInput: a count that is not positive.
    """
    for label, value in (("--model-params", model_params), ("--train-tokens", train_tokens)):
        if value is not None and not 0 < value < np.inf:
            raise InvalidInput(f"{label} is {value:g}; it must be a positive count")
    return demands.scale_for(runs, model_params, train_tokens)


def _filled(label: str, said: np.ndarray, used: np.ndarray) -> Remarks:
    values = used[np.isnan(said) & ~np.isnan(used)]
    if len(values) == 0:
        return Remarks()
    shown = f"{values.min():.6g}" if np.ptp(values) == 0 else f"{values.min():.6g} to {values.max():.6g}"
    return note(f"{len(values)} of {len(used)} queries say no {label}: {shown} was used")
