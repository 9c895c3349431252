"""Which of the measured runs enter a fit, and how many do not."""

from __future__ import annotations

from uuid import UUID

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.errors import InvalidRequest, listed
from app.models import Run, Study
from app.schemas.fits import RunFilter
from app.schemas.runs import RunSource, RunState
from mixers.types import Observations


def filtered(
    session: Session, study: Study, measured: Observations, asked: RunFilter, field: str = "runs"
) -> Observations:
    """The measured runs that pass every condition of the filter.

    Raises:
        InvalidRequest: naming the condition after which no run is left, and what the runs have.
    """
    keep = np.ones(len(measured), dtype=bool)
    for name, wanted, values in (
        ("model_params", asked.model_params, measured.model_params),
        ("train_tokens", asked.train_tokens, measured.train_tokens),
    ):
        if wanted is not None:
            keep &= np.isin(values, wanted)
            _check_left(keep, f"{field}.{name}", "counts that measured runs have: " + _counts(values))
    if asked.purposes is not None:
        of = _purposes(session, study.id)
        keep &= np.array([of.get(run_id) in asked.purposes for run_id in measured.run_ids])
        _check_left(keep, f"{field}.purposes", ", ".join(sorted({of[run_id] for run_id in measured.run_ids})))
    if asked.exclude:
        left_out = {str(run_id) for run_id in asked.exclude}
        keep &= np.array([run_id not in left_out for run_id in measured.run_ids])
        _check_left(keep, f"{field}.exclude", "at least one run that is not excluded")
    return measured.rows(np.flatnonzero(keep))


def _check_left(keep: np.ndarray, field: str, accepted: str) -> None:
    if not keep.any():
        raise InvalidRequest.of(field, "no measured run is left", accepted)


def _counts(values: np.ndarray) -> str:
    known = np.unique(values[np.isfinite(values)])
    return listed([f"{value:.0f}" for value in known]) or "none is known"


def _purposes(session: Session, study_id: UUID) -> dict[str, str]:
    rows = session.execute(select(Run.id, Run.purpose).where(Run.study_id == study_id))
    return {str(run_id): purpose for run_id, purpose in rows}


def count_excluded(session: Session, study_id: UUID) -> int:
    """Measured runs that no fit may use: flagged, or trained on weights that moved."""
    kept_out = Run.exclude_from_fit.is_(True) | (Run.source == RunSource.ADAPTIVE)
    counted = select(func.count()).where(
        Run.study_id == study_id, Run.state == RunState.SUCCEEDED, Run.losses.is_not(None), kept_out
    )
    return session.scalar(counted) or 0
