"""Tables: schedules and their firings."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.models.base import Base
from app.schemas.schedules import FiringCause, Missed

if TYPE_CHECKING:
    from app.models.jobs import Job


class Schedule(Base):
    """Something that a study does again and again. ``next_at`` is the next firing; null while it is paused."""

    __tablename__ = "schedules"
    __table_args__ = (Index("ix_schedules_due", "next_at"), Index("ix_schedules_page", "study_id", "id"))

    id: Mapped[UUID] = mapped_column(primary_key=True)
    study_id: Mapped[UUID] = mapped_column(ForeignKey("studies.id"))
    name: Mapped[str] = mapped_column(String(200))
    kind: Mapped[str] = mapped_column(String(50))
    cron: Mapped[str] = mapped_column(String(200))
    time_zone: Mapped[str] = mapped_column(String(100))
    missed: Mapped[Missed]
    settings: Mapped[dict[str, Any]]
    enabled: Mapped[bool]
    next_at: Mapped[datetime | None]
    created_at: Mapped[datetime]


class Firing(Base):
    """One due time of a schedule. The unique pair makes each happen once, however many replicas look.

    ``job_id`` is the present or last step of its work, null when it was skipped. A firing that waits for other work of
    the service (a fit, say) names that job in ``waits_for`` and takes its next step when it has ended.
    """

    __tablename__ = "firings"
    __table_args__ = (
        UniqueConstraint("schedule_id", "due_at"),
        Index("ix_firings_page", "schedule_id", "id"),
        Index("ix_firings_waiting", "waits_for"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    schedule_id: Mapped[UUID] = mapped_column(ForeignKey("schedules.id", ondelete="CASCADE"))
    due_at: Mapped[datetime]
    cause: Mapped[FiringCause]
    job_id: Mapped[UUID | None] = mapped_column(ForeignKey("jobs.id"))
    waits_for: Mapped[UUID | None] = mapped_column(ForeignKey("jobs.id"))
    outcome: Mapped[dict[str, Any] | None]
    message: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]

    job: Mapped[Job | None] = relationship(foreign_keys=job_id, lazy="joined")
    schedule: Mapped[Schedule] = relationship()
