"""Create, read and change studies."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session, selectinload

from app.errors import InvalidRequest, NotFound
from app.etags import Precondition
from app.ids import new_id, new_ids
from app.models import Run, Study, Target
from app.schemas.budgets import BudgetRead
from app.schemas.common import Page
from app.schemas.runs import RunState
from app.schemas.studies import (
    Constraints,
    DomainSetRead,
    Objective,
    RunsWithoutAgent,
    StudyCreate,
    StudyPatch,
    StudyRead,
    TargetIn,
)
from app.services.access import check_study, check_unbound, visible
from app.services.budgets import budget_of
from app.services.domain_versions import check_names, domains_in, new_version, with_priors
from app.services.events import record
from app.services.mixtures import targets_of
from app.services.observations import count_stranded
from app.services.pages import page
from app.services.waiting import runs_without_agent
from app.services.wishes import check_wishes

# A row that is locked so may still be named by new rows of others.
LOCK: dict[str, bool] = {"key_share": True}


def create_study(session: Session, body: StudyCreate, now: datetime) -> StudyRead:
    """A new study with the first version of its domain set.

    Raises:
        InvalidRequest: a name given twice, priors that are incomplete, targets without any weight.
        Infeasible: no mixture satisfies the constraints.
    """
    study = add_study(session, body, now)
    session.commit()
    return read_studies(session, [study], now)[0]


def add_study(session: Session, body: StudyCreate, now: datetime) -> Study:
    """As :func:`create_study`, for an import that stores its runs in the same transaction: the caller commits."""
    check_unbound(session, "create a study")
    check_names("targets", [target.name for target in body.targets])
    check_target_weights(target.weight for target in body.targets)
    domains = with_priors(body.domains)
    study = Study(
        id=new_id(now),
        name=body.name,
        description=body.description,
        objective=body.objective.model_dump(mode="json"),
        constraints=body.constraints.model_dump(mode="json"),
        budget_flops=body.budget.flops,
        budget_gpu_hours=body.budget.gpu_hours,
        spent_flops=0.0,
        spent_gpu_seconds=0.0,
        created_at=now,
    )
    study.domain_sets = [new_version(domains, 1, {}, now)]
    keys = new_ids(len(body.targets), now)
    study.targets = [
        Target(id=key, position=j, **target.model_dump())
        for j, (key, target) in enumerate(zip(keys, body.targets, strict=True))
    ]
    check_wishes(domains, targets_of(study.targets), body.objective, body.constraints)
    session.add(study)
    record(session, "study.created", now, study_id=study.id, subject_id=study.id, data={"name": study.name})
    return study


def find_study(session: Session, study_id: UUID, for_update: bool = False) -> Study:
    """The study with its domain sets and targets; locked until the transaction ends when ``for_update``.

    Raises:
        NotFound: no study has this identifier.
    """
    options = [selectinload(Study.domain_sets), selectinload(Study.targets)]
    study = session.get(Study, study_id, options=options, with_for_update=LOCK if for_update else None)
    if study is None:
        raise NotFound(f"there is no study {study_id}")
    check_study(session, study.id)
    return study


def get_study(session: Session, study_id: UUID, now: datetime) -> StudyRead:
    """One study with the numbers of its runs."""
    return read_studies(session, [find_study(session, study_id)], now)[0]


def list_studies(
    session: Session, limit: int, cursor: str | None, now: datetime, name: str | None = None
) -> Page[StudyRead]:
    """Studies, newest first; those whose name holds the text ``name`` in any case, when it is given."""
    rows = visible(session, select(Study), Study.id).options(
        selectinload(Study.domain_sets), selectinload(Study.targets)
    )
    if name:
        rows = rows.where(Study.name.icontains(name, autoescape=True))
    return page(
        session, rows, Study.id, limit, cursor, lambda studies: read_studies(session, studies, now), newest_first=True
    )


def change_study(
    session: Session, study_id: UUID, body: StudyPatch, precondition: Precondition, now: datetime
) -> StudyRead:
    """Change what is given, when the caller has read the present version.

    Raises:
        PreconditionRequired, PreconditionFailed: the caller has not.
        InvalidRequest: constraints on domains that the study does not have.
        Infeasible: no mixture satisfies the constraints.
    """
    study = find_study(session, study_id, for_update=True)
    precondition.require(read_studies(session, [study], now)[0])
    changed = [name for name, value in _changes(study, body).items() if _set(study, name, value)]
    if changed:
        record(session, "study.changed", now, study_id=study.id, subject_id=study.id, data={"changed": changed})
    session.commit()
    return read_studies(session, [study], now)[0]


def _changes(study: Study, body: StudyPatch) -> dict[str, Any]:
    """The columns that the body gives."""
    if body.objective is not None or body.constraints is not None:
        objective = body.objective or Objective.model_validate(study.objective)
        constraints = body.constraints or Constraints.model_validate(study.constraints)
        check_wishes(domains_in(study.domain_set), targets_of(study.targets), objective, constraints)
    changes: dict[str, Any] = {"name": body.name, "description": body.description}
    if body.objective is not None:
        changes["objective"] = body.objective.model_dump(mode="json")
    if body.constraints is not None:
        changes["constraints"] = body.constraints.model_dump(mode="json")
    given = {name: value for name, value in changes.items() if value is not None}
    if body.budget is not None:
        given |= {"budget_flops": body.budget.flops, "budget_gpu_hours": body.budget.gpu_hours}
    return given


def _set(study: Study, name: str, value: object) -> bool:
    if getattr(study, name) == value:
        return False
    setattr(study, name, value)
    return True


def read_studies(session: Session, studies: Sequence[Study], now: datetime) -> list[StudyRead]:
    """Rows as the API shows them, with the numbers of their runs."""
    keys = [study.id for study in studies]
    counts, budgets = _run_counts(session, keys), budget_of(session, keys)
    stranded, waiting = count_stranded(session, studies), runs_without_agent(session, keys, now)
    return [
        _read(study, counts.get(study.id, {}), stranded.get(study.id, 0), waiting.get(study.id, []), budgets[study.id])
        for study in studies
    ]


def _run_counts(session: Session, studies: Sequence[UUID]) -> dict[UUID, dict[str, int]]:
    counted = session.execute(
        select(Run.study_id, Run.state, func.count()).where(Run.study_id.in_(studies)).group_by(Run.study_id, Run.state)
    )
    counts: dict[UUID, dict[str, int]] = {}
    for study_id, state, count in counted:
        counts.setdefault(study_id, {})[state.value] = count
    return counts


def _read(
    study: Study, counts: Mapping[str, int], stranded: int, waiting: list[RunsWithoutAgent], budget: BudgetRead
) -> StudyRead:
    return StudyRead(
        id=study.id,
        name=study.name,
        description=study.description,
        domain_set=DomainSetRead.model_validate(study.domain_set),
        targets=[TargetIn.model_validate(target, from_attributes=True) for target in study.targets],
        objective=Objective.model_validate(study.objective),
        constraints=Constraints.model_validate(study.constraints),
        budget=budget,
        adopted_recommendation_id=study.adopted_recommendation_id,
        adopted_mixture=study.adopted_mixture,
        adopted_reason=study.adopted_reason,
        run_counts={state.value: counts.get(state.value, 0) for state in RunState},
        stranded_runs=stranded,
        runs_without_agent=waiting,
        created_at=study.created_at,
    )


def check_target_weights(weights: Iterable[float]) -> None:
    """Refuse targets of which none counts.

    Raises:
        InvalidRequest: their weights sum to 0, or to more than a number can hold.
    """
    total = sum(weights)
    if not (total > 0 and math.isfinite(total)):
        raise InvalidRequest.of("targets", f"their weights sum to {total:g}", "a positive, finite sum")
