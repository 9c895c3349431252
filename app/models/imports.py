"""Table: what was imported, from where, and the report of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base


class Import(Base):
    """One import that was carried out; ``report`` says what was taken, renormalised and skipped, and why."""

    __tablename__ = "imports"
    __table_args__ = (Index("ix_imports_page", "study_id", "id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    study_id: Mapped[UUID] = mapped_column(ForeignKey("studies.id"))
    format: Mapped[str] = mapped_column(String(50))
    source: Mapped[str] = mapped_column(Text)
    report: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
