"""Make and read versions of a study's domain set."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.errors import InvalidRequest, NotFound
from app.models import Binding, DomainSet, Study
from app.schemas.common import Page
from app.schemas.studies import Constraints, DomainIn, DomainSetCreate, DomainSetUse
from app.services.access import check_study
from app.services.domain_versions import (
    check_renames,
    domains_in,
    names_of,
    new_version,
    stranded_versions,
    with_priors,
)
from app.services.events import record
from app.services.observations import count_measured
from app.services.pages import page
from app.services.studies import find_study
from app.services.wishes import feasible_set


def create_domain_set(
    session: Session, study_id: UUID, body: DomainSetCreate, now: datetime
) -> tuple[DomainSetUse, bool]:
    """A new version, and True; the present one, and False, when nothing would change.

    Bindings go over to the new version for the domains that it keeps.

    Raises:
        InvalidRequest: a name given twice, incomplete priors, renames that lead nowhere, constraints on other domains.
        Infeasible: no mixture over the new domains satisfies the constraints.
    """
    study = find_study(session, study_id, for_update=True)
    present = study.domain_set
    domains = with_priors(body.domains)
    renames = {old: new for old, new in body.renames.items() if old != new}
    check_renames(renames, names_of(present), [domain.name for domain in domains])
    _take_constraints(study, domains, body.constraints)
    if domains == domains_in(present) and not renames:
        session.commit()
        return _read(session, study, [present])[0], False
    made = new_version(domains, present.version + 1, renames, now)
    study.domain_sets.append(made)
    session.flush()
    _carry_bindings(session, present, made)
    data = {"version": made.version, "domains": len(domains), "renames": renames}
    record(session, "domain_set.created", now, study_id=study.id, subject_id=made.id, data=data)
    session.commit()
    return _read(session, study, [made])[0], True


def _take_constraints(study: Study, domains: Sequence[DomainIn], given: Constraints | None) -> None:
    constraints = given or Constraints.model_validate(study.constraints)
    try:
        feasible_set(domains, constraints)
    except InvalidRequest as refusal:
        if given is not None:
            raise
        hint = "the constraints of the study do not fit the new domains; send new ones as constraints with this call"
        raise InvalidRequest(f"{hint} ({refusal.detail})", errors=refusal.errors) from refusal
    if given is not None:
        study.constraints = given.model_dump(mode="json")


def _carry_bindings(session: Session, before: DomainSet, after: DomainSet) -> None:
    kept = set(names_of(after))
    for binding in session.scalars(select(Binding).where(Binding.domain_set_id == before.id)).all():
        renamed = {after.renames.get(name, name): paths for name, paths in binding.paths.items()}
        paths = {name: found for name, found in renamed.items() if name in kept}
        if paths:
            session.add(
                Binding(domain_set_id=after.id, trainer=binding.trainer, paths=paths, options=dict(binding.options))
            )


def find_domain_set(session: Session, domain_set_id: UUID) -> DomainSet:
    """One version.

    Raises:
        NotFound: no domain set has this identifier.
    """
    found = session.get(DomainSet, domain_set_id)
    if found is None:
        raise NotFound(f"there is no domain set {domain_set_id}")
    check_study(session, found.study_id, f"domain set {domain_set_id}")
    return found


def get_domain_set(session: Session, domain_set_id: UUID) -> DomainSetUse:
    """One version, and what its runs are still good for."""
    found = find_domain_set(session, domain_set_id)
    return _read(session, find_study(session, found.study_id), [found])[0]


def list_domain_sets(session: Session, study_id: UUID, limit: int, cursor: str | None) -> Page[DomainSetUse]:
    """The versions of a study's domain set, newest first."""
    study = find_study(session, study_id)
    rows = select(DomainSet).where(DomainSet.study_id == study_id)
    return page(
        session, rows, DomainSet.id, limit, cursor, lambda found: _read(session, study, found), newest_first=True
    )


def _read(session: Session, study: Study, found: Sequence[DomainSet]) -> list[DomainSetUse]:
    measured = count_measured(session, [study.id])
    stranded = set(stranded_versions(study))
    return [
        DomainSetUse(
            id=row.id,
            study_id=row.study_id,
            version=row.version,
            content_hash=row.content_hash,
            domains=domains_in(row),
            renames=row.renames,
            created_at=row.created_at,
            measured_runs=measured.get(row.id, 0),
            enters_fits=row.id not in stranded,
        )
        for row in found
    ]
