"""What ``mixwright recommend --json`` prints: everything that is known of a recommendation.

The objective is the weighted mean of the targets as losses (a target to be maximised enters negated), or the worst
excess where that is minimised, so lower is better. A single target is given in its own direction; families are given
as losses. Gains are above 0 where the recommended mixture is better. Intervals are 90 %. What is not defined is null.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from app.fidelity_answers import finite
from app.formats.swarm_folder import Swarm
from app.offline import Recommended, TrustedLaw
from app.offline_documents import about, about_law, interval_of, target_intervals
from app.offline_wishes import Question
from app.price_words import price_words
from app.recommendation_rows import WeightRow, runs_of, weight_rows
from mixers.baselines import BEST_MEASURED
from mixers.pareto import ParetoFront
from mixers.problem import Problem
from mixers.recommendation import MixturePrediction, Recommendation
from mixers.types import Prediction


def recommendation_document(swarm: Swarm, law: TrustedLaw, question: Question, made: Recommended) -> dict[str, Any]:
    """Everything that ``recommend`` knows."""
    problem, best = question.problem, made.best
    return {
        **about(swarm, swarm.remarks + law.remarks + question.remarks),
        **about_law(law, swarm.runs.targets),
        **_asked(problem),
        "weights": [
            _weight(row, capped) for row, capped in zip(weight_rows(problem, best), best.capped.tolist(), strict=True)
        ],
        "predictions": {
            name: _mixture(problem, best.mixtures[name], predicted) for name, predicted in best.predictions.items()
        },
        "gains": {
            name: {
                "objective": interval_of(gain.objective_mean, gain.objective_std).model_dump(),
                "targets": _gains(gain.targets, problem),
            }
            for name, gain in best.gains.items()
        },
        "outside": list(best.outside),
        "offered": {
            "mixture": best.offered,
            "within_noise": None if best.within_noise is None else bool(best.within_noise),
            "runs": runs_of(law.runs, best.offered_weights) if best.offered == BEST_MEASURED else [],
            "weights": _named(problem, best.offered_weights),
        },
        "unseen_domains": list(best.unseen),
        **_checks(problem, best),
        "pareto": None if made.front is None else _front(problem, made.front),
        "solver": {
            "status": str(best.solution.status),
            "value": finite(best.solution.value),
            "residual": finite(best.solution.residual),
            "message": best.solution.message,
        },
        "message": best.message,
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


def _mixture(problem: Problem, p: np.ndarray, predicted: MixturePrediction) -> dict[str, Any]:
    return {
        "weights": _named(problem, p),
        "objective": interval_of(predicted.objective_mean, predicted.objective_std).model_dump(),
        "targets": target_intervals(predicted.targets, problem.targets),
    }


def _gains(gains: Prediction, problem: Problem) -> Mapping[str, Any]:
    rows = zip(problem.targets.names, gains.mean.tolist(), gains.std.tolist(), strict=True)
    return {name: interval_of(mean, std).model_dump() for name, mean, std in rows}


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
        "worst_mixture": None if worst is None else _mixture(problem, worst.weights, worst.prediction),
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
