"""What is known of a recommendation beside its weights: for ``recommend --json`` and for the answers of the service.

The objective is the weighted mean of the targets as losses (a target to be maximised enters negated), or the worst
excess where that is minimised, so lower is better. A single target is given in its own direction; families are given
as losses. Gains are above 0 where the recommended mixture is better. Intervals are 90 %. What is not defined is null.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from app.fidelity_answers import finite
from app.intervals import interval_of, target_intervals
from app.price_words import price_words
from app.recommendation_rows import WeightRow, runs_of, weight_rows
from mixers.baselines import BEST_MEASURED
from mixers.pareto import ParetoFront
from mixers.problem import Problem
from mixers.recommendation import Gain, MixturePrediction, Recommendation
from mixers.types import Observations


def weights_document(problem: Problem, best: Recommendation) -> list[dict[str, Any]]:
    """A row a domain: its weight, what bounds it, how far it can move, how often its tokens are seen."""
    rows = zip(weight_rows(problem, best), best.capped.tolist(), strict=True)
    return [_weight(row, capped) for row, capped in rows]


def mixture_document(problem: Problem, p: np.ndarray, predicted: MixturePrediction) -> dict[str, Any]:
    """A mixture with its predicted objective and targets."""
    return {
        "weights": _named(problem, p),
        "objective": interval_of(predicted.objective_mean, predicted.objective_std).model_dump(),
        "targets": target_intervals(predicted.targets, problem.targets),
    }


def recommendation_details(
    problem: Problem, best: Recommendation, runs: Observations, front: ParetoFront | None
) -> dict[str, Any]:
    """Everything but the weights and the predicted mixtures; ``runs`` are those that the law was fitted to."""
    return {
        **_asked(problem),
        "gains": {name: gain_document(gain, problem) for name, gain in best.gains.items()},
        "outside": list(best.outside),
        "offered": {
            "mixture": best.offered,
            "within_noise": None if best.within_noise is None else bool(best.within_noise),
            "runs": runs_of(runs, best.offered_weights) if best.offered == BEST_MEASURED else [],
            "weights": _named(problem, best.offered_weights),
        },
        "unseen_domains": list(best.unseen),
        **_checks(problem, best),
        "pareto": None if front is None else _front(problem, front),
        "solver": {
            "status": str(best.solution.status),
            "value": finite(best.solution.value),
            "residual": finite(best.solution.residual),
            "message": best.solution.message,
        },
        "message": best.message,
    }


def gain_document(gain: Gain, problem: Problem) -> dict[str, Any]:
    """The intervals of a gain; above 0 is better, also in a target that is maximised."""
    rows = zip(problem.targets.names, gain.targets.mean.tolist(), gain.targets.std.tolist(), strict=True)
    return {
        "objective": interval_of(gain.objective_mean, gain.objective_std).model_dump(),
        "targets": {name: interval_of(mean, std).model_dump() for name, mean, std in rows},
    }


def _asked(problem: Problem) -> dict[str, Any]:
    worst, limit = problem.worst, problem.not_worse
    return {
        "scale": {
            "model_params": finite(problem.scale.model_params),
            "train_tokens": finite(problem.scale.train_tokens),
        },
        "kl_to_prior": problem.kl_to_prior,
        "target_tokens": problem.target_tokens,
        "max_epochs": problem.max_epochs,
        "max_epochs_each": dict(problem.max_epochs_each),
        "repetition_price": problem.repetition_price,
        "target_weights": dict(zip(problem.targets.names, problem.weights.tolist(), strict=True)),
        "minimise_worst": None if worst is None else asdict(worst),
        "not_worse": None if limit is None else {**asdict(limit), "each": dict(limit.each)},
        "constraints": [
            {"kind": str(one.kind), "subject": one.subject, "limit": one.limit, "at_least": one.at_least}
            for one in problem.feasible.stated
        ],
    }


def _weight(row: WeightRow, capped: bool) -> dict[str, Any]:
    numbers = {name: finite(value) if isinstance(value, float) else value for name, value in asdict(row).items()}
    return {**numbers, "held_by": row.held_by or None, "capped": capped}


def _checks(problem: Problem, best: Recommendation) -> dict[str, Any]:
    flat, worst = best.sensitivity, best.worst
    prices = [
        {**asdict(price), "kind": str(price.kind), "words": price_words(price, problem.domains)}
        for price in best.prices.prices
    ]
    return {
        "prices": prices,
        "kkt_residual": finite(best.prices.residual),
        "sensitivity": None if flat is None else {"margin": flat.margin, "method": str(flat.method)},
        "worst_mixture": None if worst is None else mixture_document(problem, worst.weights, worst.prediction),
    }


def _front(problem: Problem, front: ParetoFront) -> dict[str, Any]:
    return {
        "families": list(front.families),
        "ideal": dict(zip(front.families, front.ideal.tolist(), strict=True)),
        "points": [
            {
                "weights": _named(problem, point.weights),
                "values": dict(zip(front.families, point.values.tolist(), strict=True)),
            }
            for point in front.points
        ],
    }


def _named(problem: Problem, p: np.ndarray) -> dict[str, float]:
    return dict(zip(problem.domains.names, p.tolist(), strict=True))
