"""Where each trainer finds the domains of a domain set."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.errors import InvalidRequest, NotFound, PreconditionFailed, listed
from app.etags import Precondition
from app.models import Binding, DomainSet, Study
from app.schemas.bindings import BindingPut, BindingRead
from app.schemas.common import Page
from app.services.domain_sets import find_domain_set
from app.services.domain_versions import names_of
from app.services.events import record
from app.services.pages import page


def put_binding(
    session: Session,
    domain_set_id: UUID,
    trainer: str,
    body: BindingPut,
    precondition: Precondition,
    must_be_new: bool,
    now: datetime,
) -> tuple[BindingRead, bool]:
    """Bind the domains for a trainer, in place of what was bound before; True when nothing was.

    Raises:
        PreconditionRequired, PreconditionFailed: it is bound already and the caller has not read how, or expects
            another state (``must_be_new``: that nothing is bound).
        InvalidRequest: a domain that the set does not have.
    """
    domain_set = _locked(session, domain_set_id)
    _check_domains(domain_set, body)
    found = session.get(Binding, (domain_set.id, trainer))
    if found is None:
        precondition.require_nothing()
        found = Binding(domain_set_id=domain_set.id, trainer=trainer)
        session.add(found)
        is_new = True
    else:
        if must_be_new:
            raise PreconditionFailed(f"trainer {trainer!r} is bound already; read the binding and send its ETag")
        precondition.require(_read(found))
        is_new = False
    found.paths, found.options = dict(body.paths), dict(body.options)
    _record(session, "binding.created" if is_new else "binding.changed", domain_set, trainer, now)
    session.commit()
    return _read(found), is_new


def get_binding(session: Session, domain_set_id: UUID, trainer: str) -> BindingRead:
    """How one trainer is bound.

    Raises:
        NotFound: it is not.
    """
    return _read(_find(session, find_domain_set(session, domain_set_id), trainer))


def list_bindings(session: Session, domain_set_id: UUID, limit: int, cursor: str | None) -> Page[BindingRead]:
    """All bindings of a domain set, by the name of the trainer."""
    domain_set = find_domain_set(session, domain_set_id)
    rows = select(Binding).where(Binding.domain_set_id == domain_set.id)
    return page(session, rows, Binding.trainer, limit, cursor, lambda found: [_read(binding) for binding in found])


def delete_binding(
    session: Session, domain_set_id: UUID, trainer: str, precondition: Precondition, now: datetime
) -> None:
    """Forget how a trainer was bound.

    Raises:
        NotFound: it was not bound.
        PreconditionRequired, PreconditionFailed: the caller has not read how.
    """
    domain_set = _locked(session, domain_set_id)
    found = _find(session, domain_set, trainer)
    precondition.require(_read(found))
    session.delete(found)
    _record(session, "binding.deleted", domain_set, trainer, now)
    session.commit()


def _locked(session: Session, domain_set_id: UUID) -> DomainSet:
    """The domain set; changes to bindings of a study take turns."""
    domain_set = find_domain_set(session, domain_set_id)
    session.execute(select(Study.id).where(Study.id == domain_set.study_id).with_for_update(key_share=True))
    return domain_set


def _find(session: Session, domain_set: DomainSet, trainer: str) -> Binding:
    found = session.get(Binding, (domain_set.id, trainer))
    if found is None:
        raise NotFound(f"domain set {domain_set.id} has no binding for trainer {trainer!r}")
    return found


def _check_domains(domain_set: DomainSet, body: BindingPut) -> None:
    names = names_of(domain_set)
    for name in body.paths:
        if name not in names:
            raise InvalidRequest.of(f"paths.{name}", "no such domain", listed(names))


def _record(session: Session, kind: str, domain_set: DomainSet, trainer: str, now: datetime) -> None:
    data = {"trainer": trainer}
    record(session, kind, now, study_id=domain_set.study_id, subject_id=domain_set.id, data=data)


def _read(binding: Binding) -> BindingRead:
    return BindingRead.model_validate(binding)
