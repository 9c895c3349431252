"""Reports of ``compare`` and ``predict`` as one JSON document each, in the shapes of ``app/schemas.py``.

The objective is the weighted mean of the targets as losses (a target to be maximised enters negated), so lower is
better. A single target is given in its own direction. Intervals are 90 %. What is not defined is null.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from app.fidelity_answers import findings_of, finite, law_fidelity
from app.formats.remarks import Remarks
from app.formats.swarm_folder import Swarm
from app.intervals import target_intervals
from app.offline import Answers, TrustedLaw
from mixers.fidelity import Comparison
from mixers.learning_curve import CurvePoint
from mixers.types import Prediction, Targets


def comparison_document(
    swarm: Swarm, comparison: Comparison, seed: int, curve: Sequence[CurvePoint] = ()
) -> dict[str, Any]:
    """Everything that ``compare`` knows."""
    return {
        **about(swarm, swarm.remarks),
        "seed": seed,
        "laws": [law_fidelity(report, swarm.runs.targets).model_dump(mode="json") for report in comparison.reports],
        "choice": comparison.choice,
        "reason": comparison.reason,
        **findings_of(comparison, swarm.runs.targets).model_dump(mode="json"),
        "learning_curve": [_curve_point(point) for point in curve],
    }


def _curve_point(point: CurvePoint) -> dict[str, Any]:
    figures = {name: finite(getattr(point, name)) for name in ("spearman", "spearman_std", "mae")}
    return {"mixtures": point.mixtures, **figures, "problem": point.problem}


def prediction_document(swarm: Swarm, law: TrustedLaw, answers: Answers, out: str) -> dict[str, Any]:
    """Everything that ``predict`` knows: the intervals too, which the CSV file does not hold."""
    predicted = answers.predicted
    rows = (Prediction(mean, std) for mean, std in zip(predicted.mean, predicted.std, strict=True))
    return {
        **about(swarm, swarm.remarks + law.remarks + answers.remarks),
        **about_law(law, swarm.runs.targets),
        "out": out,
        "predictions": [
            {"run_id": run_id, "targets": target_intervals(row, swarm.runs.targets)}
            for run_id, row in zip(answers.run_ids, rows, strict=True)
        ],
    }


def to_json(document: dict[str, Any]) -> str:
    """The document as text; a number that is not defined must have become null before."""
    return json.dumps(document, indent=2, allow_nan=False)


def about(swarm: Swarm, remarks: Remarks) -> dict[str, Any]:
    """How much was read, and what was assumed or looks wrong."""
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


def about_law(law: TrustedLaw, targets: Targets) -> dict[str, Any]:
    """The law that was used, why, and how it did on unseen runs."""
    return {
        "law": law.report.law,
        "reason": law.reason,
        "fidelity": law_fidelity(law.report, targets).model_dump(mode="json"),
    }
