"""Records what happened, in the transaction that makes it happen. Reading them is ``event_log.py``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func
from sqlalchemy.orm import Session

from app.models import Event
from app.services.access import caller


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
    who = caller(session)
    on_postgres = session.get_bind().dialect.name == "postgresql"
    session.add(
        Event(
            transaction=func.txid_current() if on_postgres else 0,
            at=now,
            kind=kind,
            actor=who.name,
            actor_id=who.key_id,
            study_id=study_id,
            subject_id=subject_id,
            data=dict(data or {}),
        )
    )
