"""Table: recommendations."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.models.base import Base

if TYPE_CHECKING:
    from app.models.jobs import Job


class Recommendation(Base):
    """The best weights under one fitted law, an objective and constraints."""

    __tablename__ = "recommendations"
    __table_args__ = (Index("ix_recommendations_page", "study_id", "id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id"), unique=True)
    study_id: Mapped[UUID] = mapped_column(ForeignKey("studies.id"))
    fit_id: Mapped[UUID] = mapped_column(ForeignKey("fits.id"))
    law: Mapped[str] = mapped_column(String(100))
    objective: Mapped[dict[str, Any]]
    constraints: Mapped[dict[str, Any]]
    # The scale that was asked for; null is the largest of the runs.
    model_params: Mapped[float | None]
    train_tokens: Mapped[float | None]
    # Whether the trade-off between families of targets was asked for.
    pareto: Mapped[bool] = mapped_column(default=False)
    seed: Mapped[int] = mapped_column(BigInteger)
    runs_hash: Mapped[str] = mapped_column(String(64))
    stages: Mapped[list[Any]]
    weights: Mapped[list[Any]]
    predictions: Mapped[dict[str, Any]]
    solver_status: Mapped[str | None] = mapped_column(String(50))
    message: Mapped[str | None] = mapped_column(Text)
    # Gains over the baselines, shadow prices, the offered mixture: what the mathematics says beside the weights. Large.
    details: Mapped[dict[str, Any] | None] = mapped_column(deferred=True)
    created_at: Mapped[datetime]

    job: Mapped[Job] = relationship(lazy="joined")
