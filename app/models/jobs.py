"""Table: the service's own work. A fit and a recommendation each own a job, which holds their state."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base
from app.schemas.jobs import JobState


class Job(Base):
    """Work of the service itself, done by ``app/worker.py``; leased and fenced as runs are."""

    __tablename__ = "jobs"
    __table_args__ = (Index("ix_jobs_queue", "state", "id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(50))
    state: Mapped[JobState]
    progress: Mapped[float]
    message: Mapped[str] = mapped_column(Text)
    attempt: Mapped[int]
    max_attempts: Mapped[int]
    worker: Mapped[str | None] = mapped_column(String(300))
    lease_expires_at: Mapped[datetime | None]
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
