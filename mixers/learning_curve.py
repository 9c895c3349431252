"""How the fidelity of a law grows with the number of runs: whether more runs are worth their price.

One fold of the mixtures is kept out. The law is fitted to random mixtures among the rest, more and more of them, and
predicts the fold; the same over several folds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mixers.agreement import objective_values, spearman_within
from mixers.errors import InvalidInput
from mixers.folds import fold_by_mixture, mixture_labels
from mixers.laws import find_law
from mixers.laws.cross_fit import RunTasks, Task, carry_out, in_turn
from mixers.types import Observations

_FOLDS = 5


@dataclass(frozen=True)
class CurvePoint:
    """Fidelity of the objective after ``mixtures`` mixtures: means over repeats, and the deviation between them.

    NaN where the law could not be fitted to so few, with the reason in ``problem``.
    """

    mixtures: int
    spearman: float
    spearman_std: float
    mae: float
    problem: str | None = None


def learning_curve(
    runs: Observations,
    law: str,
    rng: np.random.Generator,
    sizes: Sequence[int] | None = None,
    repeats: int = 3,
    run_tasks: RunTasks = in_turn,
) -> tuple[CurvePoint, ...]:
    """The curve of ``law``.

    Args:
        sizes: numbers of mixtures; doubling from 8 to four fifths of all when left out.
        repeats: how many folds are kept out in turn, at most 5.

    Raises:
        InvalidInput: an unknown law, or a size that the mixtures do not allow.
    """
    chosen = find_law(law)
    mixture, fold = mixture_labels(runs), fold_by_mixture(runs, _FOLDS, rng)
    repeats = min(repeats, int(fold.max()) + 1)
    most = min(len(np.unique(mixture[fold != f])) for f in range(repeats))
    steps = _steps(most) if sizes is None else sorted(set(sizes))
    if not steps or steps[0] < 2 or steps[-1] > most:
        raise InvalidInput(f"sizes of a learning curve must lie in 2 .. {most} mixtures here; they are {steps}")
    tasks, held = [], []
    for f in range(repeats):
        order = rng.permutation(np.unique(mixture[fold != f]))
        rows = np.flatnonzero(fold == f)
        for size in steps:
            seen = np.isin(mixture, order[:size])
            tasks.append(Task(chosen, runs.rows(seen), runs.rows(rows), (f, size)))
            held.append(rows)
    scores = [_score(runs, rows, *outcome) for rows, outcome in zip(held, run_tasks(carry_out, tasks), strict=True)]
    return tuple(_point(size, scores[i :: len(steps)]) for i, size in enumerate(steps))


def _steps(most: int) -> list[int]:
    steps = []
    size = 8
    while size < most:
        steps.append(size)
        size *= 2
    return [*steps, most]


def _score(
    runs: Observations, rows: np.ndarray, mean: np.ndarray, std: np.ndarray, seconds: float, problem: str | None
) -> tuple[float, float, str | None]:
    del std, seconds
    weights = runs.targets.weights
    measured, predicted = objective_values(runs.losses[rows], weights), objective_values(mean, weights)
    error = np.abs(measured - predicted)
    spearman = spearman_within(measured, predicted, runs.scale_groups[rows])
    return spearman, float(error[np.isfinite(error)].mean()) if np.isfinite(error).any() else float("nan"), problem


def _point(size: int, scores: list[tuple[float, float, str | None]]) -> CurvePoint:
    problem = next((why for *_, why in scores if why is not None), None)
    if problem is not None:
        return CurvePoint(size, float("nan"), float("nan"), float("nan"), problem)
    ranks, errors = np.array([rank for rank, *_ in scores]), np.array([error for _, error, _ in scores])
    return CurvePoint(size, float(ranks.mean()), float(ranks.std()), float(errors.mean()))
