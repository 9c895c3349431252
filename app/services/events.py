"""Records what happened, in the transaction that makes it happen. Reading them is ``event_log.py``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, insert
from sqlalchemy.orm import Session

from app.models import Event
from app.services.access import caller

# Statements of the queue's busiest calls are built once: building one takes as long as carrying it out.
_ON_SQLITE = insert(Event).values(transaction=0).inline()
_ON_POSTGRES = insert(Event).values(transaction=func.txid_current()).inline()


@dataclass(frozen=True)
class Happened:
    """One event of many; see :func:`record`."""

    kind: str
    study_id: UUID | None = None
    subject_id: UUID | None = None
    data: Mapping[str, Any] | None = None


def record(
    session: Session,
    kind: str,
    now: datetime,
    *,
    study_id: UUID | None = None,
    subject_id: UUID | None = None,
    data: Mapping[str, Any] | None = None,
) -> None:
    """Add an event; the caller of this function commits.

    Args:
        kind: what happened to what, e.g. ``run.cancelled``.
        subject_id: the thing that changed.
        data: JSON that helps to understand it later. No secrets.
    """
    record_all(session, [Happened(kind, study_id, subject_id, data)], now)


def record_all(session: Session, events: Sequence[Happened], now: datetime) -> None:
    """Add events in their order; the caller of this function commits."""
    if not events:
        return
    who = caller(session)
    rows = [
        {
            "at": now,
            "kind": event.kind,
            "actor": who.name,
            "actor_id": who.key_id,
            "study_id": event.study_id,
            "subject_id": event.subject_id,
            "data": dict(event.data or {}),
        }
        for event in events
    ]
    on_postgres = session.get_bind().dialect.name == "postgresql"
    session.connection().execute(_ON_POSTGRES if on_postgres else _ON_SQLITE, rows)
