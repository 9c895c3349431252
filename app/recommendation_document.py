"""What ``mixwright recommend --json`` prints: everything that is known of a recommendation."""

from __future__ import annotations

from typing import Any

from app.formats.swarm_folder import Swarm
from app.offline import Recommended, TrustedLaw
from app.offline_documents import about, about_law
from app.offline_wishes import Question
from app.recommendation_details import mixture_document, recommendation_details, weights_document


def recommendation_document(swarm: Swarm, law: TrustedLaw, question: Question, made: Recommended) -> dict[str, Any]:
    """Everything that ``recommend`` knows."""
    problem, best = question.problem, made.best
    return {
        **about(swarm, swarm.remarks + law.remarks + question.remarks),
        **about_law(law, swarm.runs.targets),
        "weights": weights_document(problem, best),
        "predictions": {
            name: mixture_document(problem, best.mixtures[name], predicted)
            for name, predicted in best.predictions.items()
        },
        **recommendation_details(problem, best, law.runs, made.front),
    }
