"""Table: the processes that claim runs."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base


class Agent(Base):
    """A process that claims proxy runs; of one study only when its key was bound to that."""

    __tablename__ = "agents"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    hostname: Mapped[str] = mapped_column(String(300))
    device: Mapped[str] = mapped_column(String(300))
    # No foreign key: SQLite would have to copy the table, which others refer to.
    study_id: Mapped[UUID | None]
    # An agent that drains gets no new runs.
    draining: Mapped[bool] = mapped_column(default=False)
    # Those that its last claim asked for runs of.
    corpus_hashes: Mapped[list[Any]] = mapped_column(default=list)
    created_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
