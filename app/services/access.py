"""What a caller may see: a key that is bound to a study knows of no other."""

from __future__ import annotations

from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.errors import Forbidden, NotFound
from app.principal import SERVICE, Principal

_PRINCIPAL = "principal"
Rows = TypeVar("Rows", bound=Select[*tuple[Any, ...]])


def caller(session: Session) -> Principal:
    """Who this session works for; the service itself when nobody called."""
    return session.info.get(_PRINCIPAL, SERVICE)


def check_study(session: Session, study_id: UUID, thing: str | None = None) -> None:
    """Refuse a study that the caller's key is not bound to, in the words of one that is not there.

    Args:
        thing: what the caller named, if it was something of the study, as in ``fit 0f…``; the study is not told then.

    Raises:
        NotFound: the caller must not learn that it exists, nor whose it is.
    """
    bound = caller(session).study_id
    if bound is not None and bound != study_id:
        raise NotFound(f"there is no {thing or f'study {study_id}'}")


def check_unbound(session: Session, what: str) -> None:
    """Refuse a change that is not inside of one study to a key that is bound to one.

    Raises:
        Forbidden: saying what was asked for.
    """
    if caller(session).study_id is not None:
        raise Forbidden(f"this key is bound to one study and may not {what}")


def visible(session: Session, rows: Rows, study: InstrumentedAttribute[Any]) -> Rows:
    """The rows whose study the caller may see."""
    bound = caller(session).study_id
    return rows if bound is None else rows.where(study == bound)
