"""Create and read studies."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session, selectinload

from app.errors import InvalidRequest, NotFound
from app.ids import new_id, new_ids
from app.models import DomainSet, Run, Study, Target
from app.schemas.common import Page
from app.schemas.runs import RunState
from app.schemas.studies import DomainIn, DomainSetRead, StudyCreate, StudyRead, TargetIn
from app.services.access import check_study, check_unbound, visible
from app.services.events import record
from app.services.mixtures import domains_from, feasible_set
from app.services.pages import page


def create_study(session: Session, body: StudyCreate, now: datetime) -> StudyRead:
    """A new study with the first version of its domain set.

    Raises:
        InvalidRequest: a name given twice, priors that are incomplete, targets without any weight.
        Infeasible: no mixture satisfies the constraints.
    """
    check_unbound(session, "create a study")
    _check_unique("domains", [domain.name for domain in body.domains])
    _check_unique("targets", [target.name for target in body.targets])
    _check_target_weights(body.targets)
    domains = _with_priors(body.domains)
    feasible_set(domains_from(domains), body.constraints)
    study = Study(
        id=new_id(now),
        name=body.name,
        description=body.description,
        objective=body.objective.model_dump(mode="json"),
        constraints=body.constraints.model_dump(mode="json"),
        created_at=now,
    )
    study.domain_sets = [_domain_set(domains, 1, now)]
    study.targets = [
        Target(id=key, position=j, **target.model_dump())
        for j, (key, target) in enumerate(zip(new_ids(len(body.targets), now), body.targets, strict=True))
    ]
    session.add(study)
    record(session, "study.created", now, study_id=study.id, subject_id=study.id, data={"name": study.name})
    session.commit()
    return _read([study], {})[0]


def find_study(session: Session, study_id: UUID) -> Study:
    """The study with its domain sets and targets.

    Raises:
        NotFound: no study has this identifier.
    """
    study = session.get(Study, study_id, options=[selectinload(Study.domain_sets), selectinload(Study.targets)])
    if study is None:
        raise NotFound(f"there is no study {study_id}")
    check_study(session, study.id)
    return study


def get_study(session: Session, study_id: UUID) -> StudyRead:
    """One study with the numbers of its runs."""
    study = find_study(session, study_id)
    return _read([study], _run_counts(session, [study.id]))[0]


def list_studies(session: Session, limit: int, cursor: str | None) -> Page[StudyRead]:
    """Studies, newest first."""
    rows = visible(session, select(Study), Study.id).options(
        selectinload(Study.domain_sets), selectinload(Study.targets)
    )

    def read(studies: Sequence[Study]) -> list[StudyRead]:
        return _read(studies, _run_counts(session, [study.id for study in studies]))

    return page(session, rows, Study.id, limit, cursor, read, newest_first=True)


def _run_counts(session: Session, studies: Sequence[UUID]) -> dict[UUID, dict[str, int]]:
    counted = session.execute(
        select(Run.study_id, Run.state, func.count()).where(Run.study_id.in_(studies)).group_by(Run.study_id, Run.state)
    )
    counts: dict[UUID, dict[str, int]] = {}
    for study_id, state, count in counted:
        counts.setdefault(study_id, {})[state.value] = count
    return counts


def _read(studies: Sequence[Study], counts: dict[UUID, dict[str, int]]) -> list[StudyRead]:
    none = {state.value: 0 for state in RunState}
    return [
        StudyRead(
            id=study.id,
            name=study.name,
            description=study.description,
            domain_set=DomainSetRead.model_validate(study.domain_set),
            targets=[TargetIn.model_validate(target, from_attributes=True) for target in study.targets],
            objective=study.objective,  # type: ignore[arg-type]  # pydantic reads the dict
            constraints=study.constraints,  # type: ignore[arg-type]
            run_counts=none | counts.get(study.id, {}),
            created_at=study.created_at,
        )
        for study in studies
    ]


def _domain_set(domains: Sequence[DomainIn], version: int, now: datetime) -> DomainSet:
    # What decides whether mixtures of two sets can be compared: names, their order, sizes and priors.
    content = [[domain.name, domain.available_tokens, domain.prior] for domain in domains]
    return DomainSet(
        id=new_id(now),
        version=version,
        content_hash=hashlib.sha256(json.dumps(content).encode()).hexdigest(),
        domains=[domain.model_dump(mode="json") for domain in domains],
        created_at=now,
    )


def _with_priors(domains: Sequence[DomainIn]) -> list[DomainIn]:
    """Domains with normalised priors: as given, else from the available tokens, else uniform."""
    if any(domain.prior is not None for domain in domains):
        shares, what = [domain.prior for domain in domains], "prior"
    elif any(domain.available_tokens is not None for domain in domains):
        shares, what = [domain.available_tokens for domain in domains], "available_tokens"
    else:
        shares, what = [1.0] * len(domains), "prior"
    for i, share in enumerate(shares):
        if share is None:
            raise InvalidRequest.of(
                f"domains.{i}.{what}",
                "is missing while another domain has one",
                f"a {what} for every domain, or a prior for every domain",
            )
    known = [float(share) for share in shares if share is not None]
    total = sum(known)
    if not (total > 0 and math.isfinite(total)):
        raise InvalidRequest.of("domains", f"the priors sum to {total:g}", "a positive, finite sum")
    return [d.model_copy(update={"prior": share / total}) for d, share in zip(domains, known, strict=True)]


def _check_unique(field: str, names: Sequence[str]) -> None:
    seen: set[str] = set()
    for i, name in enumerate(names):
        if name in seen:
            raise InvalidRequest.of(f"{field}.{i}.name", f"{name!r} is named twice", "a different name for each")
        seen.add(name)


def _check_target_weights(targets: Sequence[TargetIn]) -> None:
    total = sum(target.weight for target in targets)
    if not (total > 0 and math.isfinite(total)):
        raise InvalidRequest.of("targets", f"their weights sum to {total:g}", "a positive, finite sum")
