"""Reports of the offline commands as one JSON document each, in the shapes of ``app/schemas.py``.

The objective is the weighted mean of the targets as losses (a target to be maximised enters negated), so lower is
better. A single target is given in its own direction. Intervals are 90 %. What is not defined is null.
"""

from __future__ import annotations

import json
import math
from typing import Any, SupportsFloat

import numpy as np

from app.formats.remarks import Remarks
from app.formats.swarm_folder import Swarm
from app.offline import Answers, Question, TrustedLaw
from app.schemas import DomainWeight, Interval, LawFidelity, TargetFidelity
from mixers.fidelity import Comparison, LawReport
from mixers.recommendation import Problem, Recommendation, interval
from mixers.types import Prediction, Scale, Targets


def comparison_document(swarm: Swarm, comparison: Comparison, seed: int) -> dict[str, Any]:
    """Everything that ``compare`` knows."""
    return {
        **_about(swarm, swarm.remarks),
        "seed": seed,
        "laws": [law_fidelity(report, swarm.runs.targets).model_dump(mode="json") for report in comparison.reports],
        "choice": comparison.choice,
        "reason": comparison.reason,
    }


def recommendation_document(swarm: Swarm, law: TrustedLaw, question: Question, best: Recommendation) -> dict[str, Any]:
    """Everything that ``recommend`` knows."""
    problem = question.problem
    return {
        **_about(swarm, swarm.remarks + law.remarks + question.remarks),
        **_about_law(law, swarm.runs.targets),
        "scale": _scale(problem.scale),
        "kl_to_prior": problem.kl_to_prior,
        "target_tokens": problem.target_tokens,
        "max_epochs": question.wish.max_epochs,
        "weights": [row.model_dump(mode="json") for row in domain_weights(problem, best)],
        "predictions": {
            name: {
                "weights": dict(zip(problem.domains.names, best.mixtures[name].tolist(), strict=True)),
                "objective": _interval(predicted.objective_mean, predicted.objective_std).model_dump(),
                "targets": _target_intervals(predicted.targets, problem.targets),
            }
            for name, predicted in best.predictions.items()
        },
        "solver": {
            "status": str(best.solution.status),
            "value": _number(best.solution.value),
            "residual": _number(best.solution.residual),
        },
        "message": best.message,
    }


def prediction_document(swarm: Swarm, law: TrustedLaw, answers: Answers, out: str) -> dict[str, Any]:
    """Everything that ``predict`` knows: the intervals too, which the CSV file does not hold."""
    predicted = answers.predicted
    rows = (Prediction(mean, std) for mean, std in zip(predicted.mean, predicted.std, strict=True))
    return {
        **_about(swarm, swarm.remarks + law.remarks + answers.remarks),
        **_about_law(law, swarm.runs.targets),
        "out": out,
        "predictions": [
            {"run_id": run_id, "targets": _target_intervals(row, swarm.runs.targets)}
            for run_id, row in zip(answers.run_ids, rows, strict=True)
        ],
    }


def to_json(document: dict[str, Any]) -> str:
    """The document as text; a number that is not defined must have become null before."""
    return json.dumps(document, indent=2, allow_nan=False)


def law_fidelity(report: LawReport, targets: Targets) -> LawFidelity:
    """A law's report with null for what is not defined."""
    columns = (report.spearman.tolist(), report.mae.tolist(), report.r2.tolist())
    judged = [] if report.skipped is not None else list(zip(targets.names, *columns, strict=True))
    return LawFidelity(
        law=report.law,
        skipped=report.skipped,
        objective_spearman=_number(report.objective_spearman),
        objective_mae=_number(report.objective_mae),
        objective_r2=_number(report.objective_r2),
        coverage90=_number(report.coverage90),
        fit_seconds=_number(report.fit_seconds),
        targets=[
            TargetFidelity(target=name, spearman=_number(rho), mae=mae, r2=_number(r2)) for name, rho, mae, r2 in judged
        ],
    )


def domain_weights(problem: Problem, best: Recommendation) -> list[DomainWeight]:
    """The recommended weight of every domain beside its prior, its bound and its epochs."""
    columns = (problem.domains.prior, best.solution.weights, best.max_weight, best.epochs, best.capped)
    rows = zip(problem.domains.names, *(np.asarray(column).tolist() for column in columns), strict=True)
    return [
        DomainWeight(domain=name, prior=prior, weight=weight, max_weight=bound, epochs=_number(epochs), capped=capped)
        for name, prior, weight, bound, epochs, capped in rows
    ]


def _about(swarm: Swarm, remarks: Remarks) -> dict[str, Any]:
    runs = swarm.runs
    return {
        "folder": str(swarm.folder),
        "runs": len(runs),
        "mixtures": int(runs.mixture_groups.max()) + 1,
        "scales": int(runs.scale_groups.max()) + 1,
        "domains": list(runs.domains.names),
        "targets": list(runs.targets.names),
        "notes": list(remarks.notes),
        "warnings": list(remarks.warnings),
    }


def _about_law(law: TrustedLaw, targets: Targets) -> dict[str, Any]:
    return {
        "law": law.report.law,
        "reason": law.reason,
        "fidelity": law_fidelity(law.report, targets).model_dump(mode="json"),
    }


def _target_intervals(predicted: Prediction, targets: Targets) -> dict[str, dict[str, float]]:
    rows = zip(targets.names, predicted.mean.tolist(), predicted.std.tolist(), targets.maximised, strict=True)
    return {name: _interval(mean, std, maximised).model_dump() for name, mean, std, maximised in rows}


def _interval(mean: float, std: float, maximised: bool = False) -> Interval:
    """The 90 % interval; of a target that is maximised, in its own direction."""
    low, high = (float(end) for end in interval(mean, std))
    return Interval(mean=-mean, low=-high, high=-low) if maximised else Interval(mean=mean, low=low, high=high)


def _scale(scale: Scale) -> dict[str, float | None]:
    return {"model_params": _number(scale.model_params), "train_tokens": _number(scale.train_tokens)}


def _number(value: SupportsFloat) -> float | None:
    """A JSON number, or null for one that is not defined."""
    number = float(value)
    return number if math.isfinite(number) else None
