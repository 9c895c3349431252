"""The weights that training pipelines read: those of the mixture that a study has adopted of a recommendation.

Pipelines ask often, so reading is one query on two primary keys and builds nothing twice: the version follows from what
was adopted and when, and the recommendation never changes once it has succeeded.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import bindparam, case, select
from sqlalchemy.orm import Session

from app.errors import NotFound
from app.models import Recommendation, Study
from app.schemas.mixture_choice import MixtureChoice, WantedMixture
from app.schemas.weights import WeightsRead
from app.services.access import check_study
from app.services.events import record
from app.services.mixture_choice import choose, chosen_stages, recommended_weights
from app.services.recommendations import find_recommendation, require_recommended
from app.services.studies import find_study

# Built once: putting a statement together costs more than carrying it out.
_MEASURED = Recommendation.predictions[(MixtureChoice.BEST_MEASURED.value, "weights")]
_ADOPTED = (
    select(
        Study.id,
        Study.adopted_recommendation_id,
        Study.adopted_at,
        Study.adopted_mixture,
        Study.adopted_reason,
        Recommendation.weights,
        Recommendation.stages,
        # Of the predictions no more than is needed: they hold every target of every baseline.
        case((Study.adopted_mixture == MixtureChoice.BEST_MEASURED, _MEASURED)),
    )
    .outerjoin(Recommendation, Recommendation.id == Study.adopted_recommendation_id)
    .where(Study.id == bindparam("study"))
)


def adopt(session: Session, recommendation_id: UUID, wanted: WantedMixture, now: datetime) -> WeightsRead:
    """Let training pipelines read this mixture from now on. Adopting what is adopted changes nothing.

    Raises:
        Conflict: the recommendation has no weights (yet).
        InvalidRequest: the best measured mixture is wanted, and there is none.
    """
    recommendation = find_recommendation(session, recommendation_id, whole=True)
    require_recommended(recommendation)
    mixture, reason = choose(recommendation, wanted)
    study = find_study(session, recommendation.study_id, for_update=True)
    before = study.adopted_recommendation_id
    if (before, study.adopted_mixture) != (recommendation.id, mixture):
        study.adopted_recommendation_id, study.adopted_at = recommendation.id, now
        study.adopted_mixture, study.adopted_reason = mixture, reason
        data = {"mixture": mixture, "reason": reason, "instead_of": None if before is None else str(before)}
        record(session, "recommendation.adopted", now, study_id=study.id, subject_id=recommendation.id, data=data)
    session.flush()
    adopted = read_weights(find_adopted(session, study.id))
    session.commit()
    return adopted


class Adopted(NamedTuple):
    """What a study has adopted, as the rows hold it."""

    study_id: UUID
    recommendation_id: UUID
    adopted_at: datetime
    mixture: MixtureChoice
    reason: str
    weights: dict[str, float]
    stages: list[dict[str, Any]]


def find_adopted(session: Session, study_id: UUID) -> Adopted:
    """The adopted mixture.

    Raises:
        NotFound: there is no such study, or it has adopted none.
    """
    check_study(session, study_id)
    row = session.execute(_ADOPTED, {"study": study_id}).one_or_none()
    if row is None:
        raise NotFound(f"there is no study {study_id}")
    _, recommendation_id, adopted_at, mixture, reason, rows, stages, measured = row
    if recommendation_id is None or adopted_at is None or mixture is None or reason is None:
        raise NotFound(
            f"study {study_id} has adopted no recommendation; adopt a recommendation with "
            "POST /v1/recommendations/{id}/adopt"
        )
    weights = recommended_weights(rows) if measured is None else measured
    stages = chosen_stages(stages, measured)
    return Adopted(study_id, recommendation_id, adopted_at, mixture, reason, weights, stages)


def version_of(adopted: Adopted) -> str:
    """What changes whenever another mixture is adopted, or the same one again."""
    text = f"{adopted.study_id} {adopted.recommendation_id} {adopted.mixture} {adopted.adopted_at.isoformat()}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_weights(adopted: Adopted) -> WeightsRead:
    """The adopted weights as the API shows them."""
    return WeightsRead.model_validate(
        {
            "study_id": adopted.study_id,
            "recommendation_id": adopted.recommendation_id,
            "mixture": adopted.mixture,
            "reason": adopted.reason,
            "version": version_of(adopted),
            "weights": adopted.weights,
            "stages": adopted.stages,
            "adopted_at": adopted.adopted_at,
        }
    )
