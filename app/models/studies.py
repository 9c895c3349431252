"""Tables: studies, the versions of their domain sets, their targets."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.models.base import Base
from app.schemas.mixture_choice import MixtureChoice


class Study(Base):
    """One mixture problem."""

    __tablename__ = "studies"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    description: Mapped[str] = mapped_column(Text)
    objective: Mapped[dict[str, Any]]
    constraints: Mapped[dict[str, Any]]
    # What its proxy runs may cost in all, and what they have cost; null is no limit.
    budget_flops: Mapped[float | None]
    budget_gpu_hours: Mapped[float | None]
    spent_flops: Mapped[float] = mapped_column(default=0.0)
    # Of spent_flops those on GPUs: what is spent on either tells what a FLOP takes there.
    spent_gpu_flops: Mapped[float] = mapped_column(default=0.0)
    spent_gpu_seconds: Mapped[float] = mapped_column(default=0.0)
    spent_cpu_seconds: Mapped[float] = mapped_column(default=0.0)
    # The recommendation whose weights training pipelines read. No foreign key: the tables would name each other.
    adopted_recommendation_id: Mapped[UUID | None]
    adopted_at: Mapped[datetime | None]
    # Which of its mixtures that is, and in a phrase why; null where nothing is adopted.
    adopted_mixture: Mapped[MixtureChoice | None]
    adopted_reason: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]

    domain_sets: Mapped[list[DomainSet]] = relationship(order_by="DomainSet.version", back_populates="study")
    targets: Mapped[list[Target]] = relationship(order_by="Target.position", back_populates="study")

    @property
    def domain_set(self) -> DomainSet:
        """The version that new runs are made for."""
        return self.domain_sets[-1]


class DomainSet(Base):
    """One version of the ordered domains of a study."""

    __tablename__ = "domain_sets"
    __table_args__ = (UniqueConstraint("study_id", "version"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    study_id: Mapped[UUID] = mapped_column(ForeignKey("studies.id"))
    version: Mapped[int]
    content_hash: Mapped[str] = mapped_column(String(64))
    domains: Mapped[list[Any]]
    # {name in the version before: name here}, of the domains whose name alone has changed.
    renames: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created_at: Mapped[datetime]

    study: Mapped[Study] = relationship(back_populates="domain_sets")


class Binding(Base):
    """Where one trainer finds the domains of a domain set: ``paths`` is ``{domain: [path, ...]}``."""

    __tablename__ = "bindings"

    domain_set_id: Mapped[UUID] = mapped_column(ForeignKey("domain_sets.id"), primary_key=True)
    trainer: Mapped[str] = mapped_column(String(100), primary_key=True)
    paths: Mapped[dict[str, Any]]
    options: Mapped[dict[str, Any]]


class Target(Base):
    """What is measured after training."""

    __tablename__ = "targets"
    __table_args__ = (UniqueConstraint("study_id", "name"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    study_id: Mapped[UUID] = mapped_column(ForeignKey("studies.id"))
    position: Mapped[int]
    name: Mapped[str] = mapped_column(String(200))
    unit: Mapped[str] = mapped_column(String(50))
    direction: Mapped[str] = mapped_column(String(20))
    weight: Mapped[float]
    family: Mapped[str] = mapped_column(String(200))
    # How the metric is computed, and which version of that: values of two definitions must not be compared.
    definition: Mapped[str] = mapped_column(Text, default="")
    definition_version: Mapped[str] = mapped_column(String(50), default="")

    study: Mapped[Study] = relationship(back_populates="targets")
