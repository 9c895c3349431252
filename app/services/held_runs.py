"""The runs that a report is about, locked, and whether the attempt that reports still holds them."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import Row, bindparam, select
from sqlalchemy.orm import Session

from app.errors import LeaseLost, NotFound
from app.models import Run
from app.schemas.runs import RunState
from app.services.access import caller

_COLUMNS = (
    Run.id,
    Run.study_id,
    Run.state,
    Run.attempt,
    Run.max_attempts,
    Run.model_params,
    Run.train_tokens,
    Run.progress_tokens,
    Run.result.is_not(None).label("has_result"),
)
_LOCK = (
    select(*_COLUMNS)
    .where(Run.id.in_(bindparam("run_ids", expanding=True)))
    .order_by(Run.id)
    .with_for_update(key_share=True)
)


def locked_runs(session: Session, run_ids: Collection[UUID]) -> dict[UUID, Row]:
    """Those of the runs that the caller may see, locked in the order of their ids until the transaction ends."""
    bound = caller(session).study_id
    rows = session.connection().execute(_LOCK, {"run_ids": list(run_ids)})
    return {run.id: run for run in rows if bound in (None, run.study_id)}


def locked_run(session: Session, run_id: UUID) -> Row:
    """One run, locked.

    Raises:
        NotFound: there is none that the caller may see.
    """
    run = locked_runs(session, [run_id]).get(run_id)
    if run is None:
        raise NotFound(f"there is no run {run_id}")
    return run


def held_run(session: Session, run_id: UUID, attempt: int) -> Row:
    """One run that ``attempt`` holds, locked.

    Raises:
        LeaseLost: another attempt holds the run, or none does.
    """
    run = locked_run(session, run_id)
    require_lease(run, attempt)
    return run


def holds(run: Row, attempt: int) -> bool:
    """Whether ``attempt`` holds the run."""
    return run.state is RunState.LEASED and run.attempt == attempt


def require_lease(run: Row, attempt: int) -> None:
    """Refuse what another attempt than the present one reports.

    Raises:
        LeaseLost: another attempt holds the run, or none does.
    """
    if not holds(run, attempt):
        raise LeaseLost(
            f"run {run.id} is {run.state} at attempt {run.attempt}; attempt {attempt} may not write to it any more"
        )
