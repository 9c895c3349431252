"""Recommendations put into the database, for benchmarks and tests that are not about how they are found."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from app.ids import new_id
from app.models import Fit, Job, Recommendation, Study
from app.schemas.jobs import JobState


def store_recommendation(
    session: Session, study: Study, weights: dict[str, float], now: datetime, state: JobState = JobState.SUCCEEDED
) -> UUID:
    """A recommendation of these weights over a run of 1,000,000 tokens, and a fit that it comes from."""
    fit = Fit(
        id=new_id(now), job=_job("fit", JobState.SUCCEEDED, now), study_id=study.id, domain_set_id=study.domain_set.id,
        laws=["mean"], folds=5, seed=0, runs_used=1, targets_used=len(study.targets), runs_hash="0" * 64, run_ids=[],
        chosen_law="mean", created_at=now,
    )  # fmt: skip
    session.add(fit)
    session.flush()
    rows = [
        {"domain": name, "prior": 0.5, "weight": weight, "max_weight": 1.0, "epochs": None, "capped": False}
        for name, weight in weights.items()
    ]
    recommendation = Recommendation(
        id=new_id(now), job=_job("recommendation", state, now), study_id=study.id, fit_id=fit.id, law="mean",
        objective={}, constraints={}, seed=0, runs_hash="0" * 64, weights=rows,
        stages=[{"from_token": 0, "to_token": 1_000_000, "weights": weights}], predictions={}, created_at=now,
    )  # fmt: skip
    session.add(recommendation)
    session.commit()
    return recommendation.id


def _job(kind: str, state: JobState, now: datetime) -> Job:
    return Job(id=new_id(now), kind=kind, state=state, progress=1.0, message="", attempt=1, max_attempts=3,
               created_at=now)  # fmt: skip
