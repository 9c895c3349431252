"""Table: what happened, and who did it."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base


class Event(Base):
    """One change. Events outlive what they tell of, hence no foreign keys.

    ``transaction`` is PostgreSQL's number of the transaction that wrote the event (0 on SQLite, whose writers take
    turns). A reader that stops before the oldest transaction still open and goes on by (``transaction``, ``seq``)
    misses none, although transactions commit in another order than they take their numbers.
    """

    __tablename__ = "events"
    __table_args__ = (
        Index("ix_events_order", "transaction", "seq"),
        Index("ix_events_study", "study_id", "transaction", "seq"),
    )

    seq: Mapped[int] = mapped_column(BigInteger().with_variant(Integer(), "sqlite"), primary_key=True)
    transaction: Mapped[int] = mapped_column(BigInteger)
    at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(String(100))
    actor: Mapped[str] = mapped_column(String(200))
    actor_id: Mapped[UUID | None]
    study_id: Mapped[UUID | None]
    subject_id: Mapped[UUID | None]
    data: Mapped[dict[str, Any]]
