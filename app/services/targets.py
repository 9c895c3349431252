"""Add, read and change the targets of a study. They are never removed: runs hold values of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.errors import Conflict, NotFound
from app.etags import Precondition
from app.ids import new_id
from app.models import Run, Study, Target
from app.schemas.common import Page
from app.schemas.runs import RunSource
from app.schemas.studies import TargetIn
from app.schemas.targets import TargetPatch, TargetRead
from app.services.domain_versions import check_name
from app.services.events import record
from app.services.pages import page
from app.services.studies import check_target_weights, find_study

MOST_TARGETS = 2000
# What decides how the values of runs are read.
_FIXED_ONCE_MEASURED = ("direction", "definition_version")
# What decides which of an agent's numbers is taken; for values from elsewhere it is a label that may be put right.
_FIXED_ONCE_TRAINED = ("unit",)
_ROWS_AT_ONCE = 1000


def list_targets(session: Session, study_id: UUID, limit: int, cursor: str | None) -> Page[TargetRead]:
    """The targets of a study, in their order."""
    find_study(session, study_id)
    rows = select(Target).where(Target.study_id == study_id)
    return page(session, rows, Target.id, limit, cursor, lambda found: [_read(target) for target in found])


def get_target(session: Session, study_id: UUID, name: str) -> TargetRead:
    """One target."""
    return _read(_find(find_study(session, study_id), name))


def add_target(session: Session, study_id: UUID, body: TargetIn, now: datetime) -> TargetRead:
    """A further target, behind the others. Runs and fits of before know nothing of it.

    Raises:
        InvalidRequest: a name that cannot be shown.
        Conflict: the study has a target of this name, or as many as it may have.
    """
    check_name("name", body.name)
    study = find_study(session, study_id, for_update=True)
    if any(target.name == body.name for target in study.targets):
        raise Conflict(f"study {study.id} has a target {body.name!r} already; change that, or take another name")
    if len(study.targets) >= MOST_TARGETS:
        raise Conflict(f"study {study.id} has {MOST_TARGETS} targets, the most that one may have")
    check_target_weights([body.weight, *(target.weight for target in study.targets)])
    target = Target(id=new_id(now), position=len(study.targets), **body.model_dump())
    study.targets.append(target)
    session.flush()
    record(session, "target.created", now, study_id=study.id, subject_id=target.id, data={"name": target.name})
    session.commit()
    return _read(target)


def change_target(
    session: Session, study_id: UUID, name: str, body: TargetPatch, precondition: Precondition, now: datetime
) -> TargetRead:
    """Change what is given, when the caller has read the present version.

    Raises:
        PreconditionRequired, PreconditionFailed: the caller has not.
        Conflict: the direction or the definition version of a target that has measured values, or the unit of one
            that has values of agents.
        InvalidRequest: no target would have a weight.
    """
    study = find_study(session, study_id, for_update=True)
    target = _find(study, name)
    precondition.require(_read(target))
    given = body.model_dump(exclude_none=True)
    changed = {field: value for field, value in given.items() if getattr(target, field) != value}
    for fields, of in ((_FIXED_ONCE_MEASURED, tuple(RunSource)), (_FIXED_ONCE_TRAINED, (RunSource.PROXY,))):
        fixed = [field for field in fields if field in changed]
        if fixed and _is_measured(session, target, of):
            raise Conflict(
                f"target {name!r} has measured values, which would no longer mean what its {fixed[0]} says; "
                "add a new target instead, and give this one the weight 0"
            )
    for field, value in changed.items():
        setattr(target, field, value)
    check_target_weights(each.weight for each in study.targets)
    if changed:
        data = {"name": name, "changed": changed}
        record(session, "target.changed", now, study_id=study.id, subject_id=target.id, data=data)
    session.commit()
    return _read(target)


def _is_measured(session: Session, target: Target, by: Sequence[RunSource]) -> bool:
    # A JSON path cannot hold every name that a target may have, so the rows are looked through here.
    measured = select(Run.losses).where(Run.study_id == target.study_id, Run.losses.is_not(None), Run.source.in_(by))
    with session.scalars(measured.order_by(Run.id), execution_options={"yield_per": _ROWS_AT_ONCE}) as rows:
        return any(target.name in (losses or {}) for losses in rows)


def _find(study: Study, name: str) -> Target:
    for target in study.targets:
        if target.name == name:
            return target
    raise NotFound(f"study {study.id} has no target {name!r}")


def _read(target: Target) -> TargetRead:
    return TargetRead.model_validate(target)
