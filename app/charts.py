"""The numbers of the dashboard's charts: pure functions from what the API reads to what a chart draws.

A page only draws these numbers, so they are tested as numbers and a notebook can draw the same chart.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from uuid import UUID

from app.loss_units import objective_unit
from app.schemas.common import Answer
from app.schemas.fits import FitRead, OutOfFoldPoint, OutOfFoldRead, TargetFidelity
from app.schemas.recommendations import DomainWeight, RecommendationRead
from app.schemas.runs import RunRead, TrajectoryRead
from app.schemas.studies import Constraints, DomainIn, StudyRead, TargetIn

BASELINE_LAW = "mean"
OBJECTIVE = "objective"
# Room between the outermost value and the edge of a chart, as a share of the range.
_MARGIN = 0.06
# A cap further out than this many times the largest bar would flatten every bar; it is then only written.
_FAR_CAP = 1.6


class WeightBar(Answer):
    """One domain: its natural share, its recommended weight, and the epochs that both imply.

    ``cap`` is the largest weight that the constraints allow, null when they do not limit it.
    """

    domain: str
    prior: float
    weight: float | None
    cap: float | None
    capped: bool
    prior_epochs: float | None
    epochs: float | None
    change: float | None


class WeightsChart(Answer):
    """Weights against the prior. Without a recommendation the weights are null and the caps are the study's."""

    recommendation_id: UUID | None
    law: str | None
    target_tokens: int | None
    max_epochs: float | None
    max_epochs_each: dict[str, float]
    axis_max: float
    bars: list[WeightBar]


class PredictedChart(Answer):
    """Observed against predicted values of one target (or the objective) under one law, out of fold.

    ``low`` and ``high`` bound both axes, so that the diagonal runs from corner to corner. The measures are those of
    the fit; ``baseline_mae`` is the error of predicting the mean.
    """

    fit_id: UUID
    law: str
    target: str | None
    unit: str
    low: float
    high: float
    spearman: float | None
    mae: float | None
    r2: float | None
    baseline_mae: float | None
    points: list[OutOfFoldPoint]


class TrajectoryLine(Answer):
    """The losses of one target over training tokens; ``stderr`` is null where a loss has none."""

    name: str
    unit: str
    tokens: list[int]
    losses: list[float]
    stderr: list[float | None]


class TrajectoryChart(Answer):
    """What a run measured on the way; the objective comes first when all of its targets were measured."""

    run_id: UUID
    label: str
    train_tokens: int | None
    lines: list[TrajectoryLine]


def weights_chart(study: StudyRead, recommendation: RecommendationRead | None) -> WeightsChart:
    """Bars of every domain of the recommendation, or of the study when there is none."""
    tokens = {domain.name: domain.available_tokens for domain in study.domain_set.domains}
    constraints = study.constraints if recommendation is None else recommendation.constraints
    bars = (
        [_prior_bar(domain, constraints) for domain in study.domain_set.domains]
        if recommendation is None
        else [_weight_bar(row, tokens.get(row.domain), constraints) for row in recommendation.weights]
    )
    return WeightsChart(
        recommendation_id=None if recommendation is None else recommendation.id,
        law=None if recommendation is None else recommendation.law,
        target_tokens=constraints.target_tokens,
        max_epochs=constraints.max_epochs,
        max_epochs_each=constraints.max_epochs_each,
        axis_max=_weights_axis(bars),
        bars=bars,
    )


def _prior_bar(domain: DomainIn, constraints: Constraints) -> WeightBar:
    prior, tokens = domain.prior or 0.0, domain.available_tokens
    cap = min(constraints.max_weights.get(domain.name, 1.0), _epoch_cap(domain.name, tokens, constraints))
    return WeightBar(
        domain=domain.name,
        prior=prior,
        weight=None,
        cap=cap if cap < 1 else None,
        capped=False,
        prior_epochs=epochs_of(prior, tokens, constraints.target_tokens),
        epochs=None,
        change=None,
    )


def _weight_bar(row: DomainWeight, available_tokens: int | None, constraints: Constraints) -> WeightBar:
    return WeightBar(
        domain=row.domain,
        prior=row.prior,
        weight=row.weight,
        cap=row.max_weight if row.max_weight < 1 else None,
        capped=row.capped,
        prior_epochs=epochs_of(row.prior, available_tokens, constraints.target_tokens),
        epochs=row.epochs,
        change=row.weight / row.prior if row.prior > 0 else None,
    )


def epochs_of(weight: float, available_tokens: int | None, target_tokens: int | None) -> float | None:
    """How often a domain is seen: ``weight * target_tokens / available_tokens``; None where a count is not known."""
    if not available_tokens or target_tokens is None:
        return None
    return weight * target_tokens / available_tokens


def _epoch_cap(name: str, available_tokens: int | None, constraints: Constraints) -> float:
    most = constraints.max_epochs_each.get(name, constraints.max_epochs)
    if not available_tokens or constraints.target_tokens is None or most is None:
        return 1.0
    return most * available_tokens / constraints.target_tokens


def _weights_axis(bars: Sequence[WeightBar]) -> float:
    largest = max((max(bar.prior, bar.weight or 0.0) for bar in bars), default=1.0) or 1.0
    caps = [bar.cap for bar in bars if bar.cap is not None and bar.cap <= _FAR_CAP * largest]
    return min(max([largest, *caps]) * (1 + 3 * _MARGIN), 1.0 + _MARGIN)  # the epochs are written beside the bars


def predicted_chart(read: OutOfFoldRead, fit: FitRead, targets: Sequence[TargetIn]) -> PredictedChart:
    """The points of ``read`` with the fidelity that ``fit`` reports for the same law and target."""
    measures = _fidelity(fit, read.law, read.target)
    baseline = _fidelity(fit, BASELINE_LAW, read.target)
    low, high = _range(value for point in read.points for value in (point.observed, point.predicted))
    return PredictedChart(
        fit_id=read.fit_id,
        law=read.law,
        target=read.target,
        unit=_unit(read.target, targets),
        low=low,
        high=high,
        spearman=measures.spearman if measures else None,
        mae=measures.mae if measures else None,
        r2=measures.r2 if measures else None,
        baseline_mae=baseline.mae if baseline else None,
        points=read.points,
    )


def _fidelity(fit: FitRead, law: str, target: str | None) -> TargetFidelity | None:
    """The measures of one law on one target or, when ``target`` is None, on the objective."""
    found = next((entry for entry in fit.fidelity if entry.law == law and entry.skipped is None), None)
    if found is None:
        return None
    if target is not None:
        return next((entry for entry in found.targets if entry.target == target), None)
    if found.objective_mae is None:
        return None
    return TargetFidelity(
        target=OBJECTIVE, spearman=found.objective_spearman, mae=found.objective_mae, r2=found.objective_r2
    )


def _unit(target: str | None, targets: Sequence[TargetIn]) -> str:
    """The unit of a target; of the objective, when all of its targets share one."""
    if target is None:
        return objective_unit(targets)
    return next((entry.unit for entry in targets if entry.name == target), "")


def _range(values: Iterable[float]) -> tuple[float, float]:
    """Bounds with a margin; a chart of one value still gets a width."""
    known = list(values)
    if not known:
        return 0.0, 1.0
    low, high = min(known), max(known)
    margin = (high - low) * _MARGIN or max(abs(high) * _MARGIN, 1e-6)
    return low - margin, high + margin


def trajectory_chart(trajectory: TrajectoryRead, run: RunRead, targets: Sequence[TargetIn]) -> TrajectoryChart:
    """A line a target in the study's order, the objective first."""
    points = sorted(trajectory.points, key=lambda point: point.train_tokens)
    lines = []
    for target in targets:
        measured = [(point.train_tokens, point.losses[target.name]) for point in points if target.name in point.losses]
        if measured:
            lines.append(
                TrajectoryLine(
                    name=target.name,
                    unit=target.unit,
                    tokens=[tokens for tokens, _ in measured],
                    losses=[loss.value for _, loss in measured],
                    stderr=[loss.stderr for _, loss in measured],
                )
            )
    objective = _objective_line(trajectory, targets)
    if objective.tokens and len(lines) > 1:
        lines.insert(0, objective)
    return TrajectoryChart(run_id=run.id, label=run.label, train_tokens=run.train_tokens, lines=lines)


def _objective_line(trajectory: TrajectoryRead, targets: Sequence[TargetIn]) -> TrajectoryLine:
    """The weighted mean of the minimised targets wherever all that count were measured."""
    counted = [target for target in targets if target.weight > 0]
    total = math.fsum(target.weight for target in counted)
    complete = [point for point in trajectory.points if all(target.name in point.losses for target in counted)]
    complete.sort(key=lambda point: point.train_tokens)
    sign = {target.name: -1.0 if target.direction == "maximize" else 1.0 for target in counted}
    means = [
        (point.train_tokens, sum(sign[t.name] * t.weight * point.losses[t.name].value for t in counted) / total)
        for point in complete
    ]
    means = [(tokens, mean) for tokens, mean in means if math.isfinite(mean)]  # a sum of huge values need not be
    return TrajectoryLine(
        name=OBJECTIVE,
        unit=_unit(None, targets),
        tokens=[tokens for tokens, _ in means],
        losses=[mean for _, mean in means],
        stderr=[None] * len(complete),
    )
