"""The weights that training pipelines read: those of the recommendation that a study has adopted.

Pipelines ask often, so reading is one query on two primary keys and builds nothing twice: the version follows from what
was adopted and when, and the recommendation never changes once it has succeeded.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from app.errors import NotFound
from app.models import Recommendation, Study
from app.schemas.weights import WeightsRead
from app.services.access import check_study
from app.services.events import record
from app.services.recommendations import find_recommendation, require_recommended
from app.services.studies import find_study

# Built once: putting a statement together costs more than carrying it out.
_ADOPTED = (
    select(
        Study.id,
        Study.adopted_recommendation_id,
        Study.adopted_at,
        Recommendation.weights,
        Recommendation.stages,
    )
    .outerjoin(Recommendation, Recommendation.id == Study.adopted_recommendation_id)
    .where(Study.id == bindparam("study"))
)


def adopt(session: Session, recommendation_id: UUID, now: datetime) -> WeightsRead:
    """Let training pipelines read these weights from now on. Adopting what is adopted changes nothing.

    Raises:
        Conflict: the recommendation has no weights (yet).
    """
    recommendation = find_recommendation(session, recommendation_id)
    require_recommended(recommendation)
    study = find_study(session, recommendation.study_id, for_update=True)
    before = study.adopted_recommendation_id
    if before != recommendation.id:
        study.adopted_recommendation_id, study.adopted_at = recommendation.id, now
        data = {"instead_of": None if before is None else str(before)}
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
    weights: list[dict[str, Any]]
    stages: list[dict[str, Any]]


def find_adopted(session: Session, study_id: UUID) -> Adopted:
    """The adopted recommendation.

    Raises:
        NotFound: there is no such study, or it has adopted none.
    """
    check_study(session, study_id)
    row = session.execute(_ADOPTED, {"study": study_id}).one_or_none()
    if row is None:
        raise NotFound(f"there is no study {study_id}")
    _, recommendation_id, adopted_at, weights, stages = row
    if recommendation_id is None or adopted_at is None:
        raise NotFound(
            f"study {study_id} has adopted no recommendation; adopt a recommendation with "
            "POST /v1/recommendations/{id}/adopt"
        )
    return Adopted(study_id, recommendation_id, adopted_at, weights, stages)


def version_of(adopted: Adopted) -> str:
    """What changes whenever another recommendation is adopted, or the same one again."""
    text = f"{adopted.study_id} {adopted.recommendation_id} {adopted.adopted_at.isoformat()}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_weights(adopted: Adopted) -> WeightsRead:
    """The adopted weights as the API shows them."""
    return WeightsRead.model_validate(
        {
            "study_id": adopted.study_id,
            "recommendation_id": adopted.recommendation_id,
            "version": version_of(adopted),
            "weights": {row["domain"]: row["weight"] for row in adopted.weights},
            "stages": adopted.stages,
            "adopted_at": adopted.adopted_at,
        }
    )
