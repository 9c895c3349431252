"""The rows of a recommendation that its report, document and plot show: a domain each, a target or family each.

Where a table holds many domains, those that are neither in the mixture nor in the prior by more than 0.1 % are summed.
Where there are many targets, their families stand for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from app.loss_units import shared_unit
from mixers.baselines import RECOMMENDED
from mixers.constraints import ConstraintKind
from mixers.laws import CalibratedLaw
from mixers.laws.base import FittedLaw
from mixers.objectives import family_matrix, family_names
from mixers.problem import Problem
from mixers.recommendation import Recommendation
from mixers.types import Observations, Prediction

# A table of more rows than this is for a program to read.
MOST_ROWS = 25
# Of the mixture and of the prior: domains with less are summed where there are more than MOST_ROWS.
_TRACE = 1e-3
# A weight this close to a bound is held by it; as mixers/shadow_prices.py counts.
_AT_BOUND = 1e-6

HELD_BY = {
    ConstraintKind.MIN_WEIGHT: "min",
    ConstraintKind.MAX_WEIGHT: "max",
    ConstraintKind.EPOCH_CAP: "epoch cap",
    ConstraintKind.FROZEN: "frozen",
    ConstraintKind.MAX_CHANGE: "change",
}


@dataclass(frozen=True)
class WeightRow:
    """One domain of the recommended mixture; NaN where a number is not known.

    Args:
        low, high: how far the weight can move at nearly the same objective. held_by: the bound that it stands at.
    """

    domain: str
    prior: float
    weight: float
    low: float
    high: float
    min_weight: float
    max_weight: float
    held_by: str
    epochs: float
    wasted_tokens: float


def weight_rows(problem: Problem, best: Recommendation) -> list[WeightRow]:
    """A row a domain, in the order of the domain set."""
    feasible, flat = problem.feasible, best.sensitivity
    unknown = np.full(len(problem.domains), np.nan)
    columns = (
        problem.domains.prior,
        best.solution.weights,
        unknown if flat is None else flat.low,
        unknown if flat is None else flat.high,
        feasible.lower,
        feasible.upper,
        [_held_by(problem, j, float(weight)) for j, weight in enumerate(best.solution.weights)],
        best.epochs,
        best.wasted_tokens,
    )
    rows = zip(*(column.tolist() if isinstance(column, np.ndarray) else column for column in columns), strict=True)
    return [WeightRow(name, *row) for name, row in zip(problem.domains.names, rows, strict=True)]


def _held_by(problem: Problem, j: int, weight: float) -> str:
    high, low = problem.feasible.binding(j, False), problem.feasible.binding(j, True)
    if high is not None and weight >= problem.feasible.upper[j] - _AT_BOUND:
        return HELD_BY[high.kind]
    if low is not None and weight <= problem.feasible.lower[j] + _AT_BOUND:
        return HELD_BY[low.kind]
    return ""


def split_rows(rows: Sequence[WeightRow]) -> tuple[list[WeightRow], list[WeightRow]]:
    """(shown one by one, summed): all in their order; or, where there are many, what matters and the largest first."""
    if len(rows) <= MOST_ROWS:
        return list(rows), []
    seen = [row for row in rows if row.weight > _TRACE or row.prior > _TRACE or (row.held_by and row.weight > 0)]
    rest = [row for row in rows if row not in seen]
    return sorted(seen, key=lambda row: -row.weight), rest


@dataclass(frozen=True)
class TargetRows:
    """Targets or families (r), as they are shown: a maximised target in its own direction.

    Args:
        what: ``target`` or ``family``. weights: of each in the objective, with a sum of 1. left_out: rows that are not
            here.
        predictions: of each mixture, shape (r,). gains: over each baseline, above 0 where the recommended is better.
        units: of each, shape (r,); empty where a family has several.
    """

    what: str
    names: tuple[str, ...]
    weights: Float[np.ndarray, " r"]
    predictions: dict[str, Prediction]
    gains: dict[str, Prediction]
    units: tuple[str, ...]
    left_out: int = 0

    def most_moving(self) -> TargetRows:
        """At most ``MOST_ROWS`` rows: those whose gain over the natural mixture moves the objective most, in order."""
        if len(self.names) <= MOST_ROWS:
            return self
        moved = np.abs(self.weights * self.gains["natural"].mean)
        keep = np.sort(np.argsort(-moved, kind="stable")[:MOST_ROWS])
        return TargetRows(
            self.what,
            tuple(self.names[i] for i in keep),
            self.weights[keep],
            {name: Prediction(one.mean[keep], one.std[keep]) for name, one in self.predictions.items()},
            {name: Prediction(one.mean[keep], one.std[keep]) for name, one in self.gains.items()},
            tuple(self.units[i] for i in keep),
            len(self.names) - MOST_ROWS,
        )


def target_rows(law: FittedLaw, problem: Problem, best: Recommendation) -> TargetRows:
    """The targets, or their families where there are more than ``MOST_ROWS`` targets and fewer families."""
    targets = problem.targets
    families = family_names(targets)
    if len(targets) <= MOST_ROWS or len(families) == len(targets):
        signs = np.where(targets.maximised, -1.0, 1.0)
        shown = {
            name: Prediction(mixture.targets.mean * signs, mixture.targets.std)
            for name, mixture in best.predictions.items()
        }
        gains = {name: gain.targets for name, gain in best.gains.items()}
        return TargetRows("target", targets.names, problem.weights, shown, gains, targets.units)
    matrix = family_matrix(targets)
    of = {name: _of_rows(law, mixture.targets, matrix) for name, mixture in best.predictions.items()}
    gains = {
        name: Prediction(of[name].mean - of["recommended"].mean, np.hypot(of[name].std, of["recommended"].std))
        for name in best.gains
    }
    members = matrix > 0
    units = tuple(shared_unit(unit for unit, there in zip(targets.units, row, strict=True) if there) for row in members)
    return TargetRows("family", families, members.astype(float) @ problem.weights, of, gains, units)


def _of_rows(law: FittedLaw, predicted: Prediction, matrix: Float[np.ndarray, "r t"]) -> Prediction:
    if isinstance(law, CalibratedLaw):
        std = np.array([float(law.weighted_std(predicted.std, row)) for row in matrix])
    else:
        std = matrix @ predicted.std
    return Prediction(matrix @ predicted.mean, std)


def distinct_mixtures(best: Recommendation) -> dict[str, str]:
    """Each mixture that differs from those before it, and a label that names all that equal it."""
    labels: dict[str, str] = {}
    for name, p in best.mixtures.items():
        label = name.replace("_", " ") + (" (not allowed)" if name in best.outside else "")
        twin = next((one for one in labels if one != RECOMMENDED and _same(best.mixtures[one], p)), None)
        if twin is None:
            labels[name] = label
        else:
            labels[twin] += f", {label}"
    return labels


def _same(p: np.ndarray, q: np.ndarray) -> bool:
    return bool(np.abs(p - q).max() < _AT_BOUND)


def runs_of(runs: Observations, p: Float[np.ndarray, " k"]) -> list[str]:
    """The names of the runs that trained the mixture ``p``, those of the largest scale first."""
    same = np.flatnonzero(np.abs(runs.p - p).max(axis=1) < _AT_BOUND)
    largest_first = same[np.argsort(-runs.scale_groups[same], kind="stable")]
    return list(dict.fromkeys(runs.of_run[i] for i in largest_first))
