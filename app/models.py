"""The tables. They work alike on SQLite and PostgreSQL.

Identifiers are UUIDs that sort by creation (``app/ids.py``), times are aware and UTC, records without queries of their
own are JSON. A fit and a recommendation each own a job, which holds their state.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Enum,
    ForeignKey,
    Index,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from app.schemas import JobState, RunSource, RunState


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time. SQLite has no zones: there it is stored without one and read back as UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"the time {value} has no time zone")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        del dialect
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _enum(kind: type[StrEnum]) -> Enum:
    """Stored as its text, so that a new state needs no change of a database type."""
    return Enum(kind, native_enum=False, length=20, values_callable=lambda states: [state.value for state in states])


class Base(DeclarativeBase):
    """Constraints have names that a migration can rely on."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    # JSON, not JSONB: the order of the domains inside of a mixture is kept.
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it from the class
        datetime: UtcDateTime(),
        dict[str, Any]: JSON(none_as_null=True),
        list[Any]: JSON(none_as_null=True),
        RunState: _enum(RunState),
        RunSource: _enum(RunSource),
        JobState: _enum(JobState),
    }


class Study(Base):
    """One mixture problem."""

    __tablename__ = "studies"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    description: Mapped[str] = mapped_column(Text)
    objective: Mapped[dict[str, Any]]
    constraints: Mapped[dict[str, Any]]
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
    created_at: Mapped[datetime]

    study: Mapped[Study] = relationship(back_populates="domain_sets")


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

    study: Mapped[Study] = relationship(back_populates="targets")


class Agent(Base):
    """A process that claims proxy runs."""

    __tablename__ = "agents"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    hostname: Mapped[str] = mapped_column(String(300))
    device: Mapped[str] = mapped_column(String(300))
    created_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]


class Run(Base):
    """One data point, waiting, in work or measured. ``losses`` holds the study's targets in their own direction.

    ``attempt`` is the number of the last claim. An agent that writes must name it, so that a late one changes
    nothing.
    """

    __tablename__ = "runs"
    __table_args__ = (
        Index("ix_runs_page", "study_id", "id"),
        Index("ix_runs_count", "study_id", "state"),
        Index("ix_runs_queue", "state", "queue_rank", "id"),
        Index("ix_runs_lease", "state", "lease_expires_at"),
        Index("ix_runs_verification", "recommendation_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    study_id: Mapped[UUID] = mapped_column(ForeignKey("studies.id"))
    domain_set_id: Mapped[UUID] = mapped_column(ForeignKey("domain_sets.id"))
    label: Mapped[str] = mapped_column(String(200))
    purpose: Mapped[str] = mapped_column(String(50))
    state: Mapped[RunState]
    source: Mapped[RunSource]
    exclude_from_fit: Mapped[bool]
    weights: Mapped[dict[str, Any]]
    seed: Mapped[int] = mapped_column(BigInteger)
    settings: Mapped[dict[str, Any] | None]
    batch_key: Mapped[str | None] = mapped_column(String(64))
    corpus_hash: Mapped[str | None] = mapped_column(Text)
    model_params: Mapped[int | None] = mapped_column(BigInteger)
    train_tokens: Mapped[int | None] = mapped_column(BigInteger)
    # Minus the priority, so that one ascending index gives the order of the queue.
    queue_rank: Mapped[int]
    attempt: Mapped[int]
    max_attempts: Mapped[int]
    agent_id: Mapped[UUID | None] = mapped_column(ForeignKey("agents.id"))
    lease_expires_at: Mapped[datetime | None]
    progress_tokens: Mapped[int] = mapped_column(BigInteger)
    losses: Mapped[dict[str, Any] | None]
    result: Mapped[dict[str, Any] | None]
    realised_weights: Mapped[dict[str, Any] | None]
    wall_seconds: Mapped[float | None]
    error: Mapped[str | None] = mapped_column(Text)
    recommendation_id: Mapped[UUID | None] = mapped_column(ForeignKey("recommendations.id"))
    arm: Mapped[str | None] = mapped_column(String(50))
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class Measurement(Base):
    """One point of a run's trajectory, as one attempt measured it."""

    __tablename__ = "measurements"

    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    train_tokens: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    losses: Mapped[dict[str, Any]]


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


class Fit(Base):
    """Mixing laws fitted to the runs that ``run_ids`` names, in that order."""

    __tablename__ = "fits"
    __table_args__ = (Index("ix_fits_page", "study_id", "id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id"), unique=True)
    study_id: Mapped[UUID] = mapped_column(ForeignKey("studies.id"))
    domain_set_id: Mapped[UUID] = mapped_column(ForeignKey("domain_sets.id"))
    laws: Mapped[list[Any]]
    folds: Mapped[int]
    seed: Mapped[int] = mapped_column(BigInteger)
    runs_used: Mapped[int]
    runs_hash: Mapped[str] = mapped_column(String(64))
    # The largest scale among the runs; predictions are made there when none is asked for.
    model_params: Mapped[float | None]
    train_tokens: Mapped[float | None]
    run_ids: Mapped[list[Any]] = mapped_column(deferred=True)
    chosen_law: Mapped[str | None] = mapped_column(String(100))
    reason: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]

    job: Mapped[Job] = relationship(lazy="joined")
    results: Mapped[list[LawResult]] = relationship(order_by="LawResult.position", lazy="selectin")


class LawResult(Base):
    """One law inside of a fit: its fidelity, its out-of-fold predictions and the law itself as JSON.

    ``out_of_fold`` is ``{"mean": (n, t), "std": (n, t)}`` over the fit's runs, as losses.
    """

    __tablename__ = "law_results"

    fit_id: Mapped[UUID] = mapped_column(ForeignKey("fits.id"), primary_key=True)
    law: Mapped[str] = mapped_column(String(100), primary_key=True)
    position: Mapped[int]
    fidelity: Mapped[dict[str, Any]]
    # Large, and read one law at a time.
    out_of_fold: Mapped[dict[str, Any] | None] = mapped_column(deferred=True)
    fitted: Mapped[dict[str, Any] | None] = mapped_column(deferred=True)


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
    seed: Mapped[int] = mapped_column(BigInteger)
    runs_hash: Mapped[str] = mapped_column(String(64))
    stages: Mapped[list[Any]]
    weights: Mapped[list[Any]]
    predictions: Mapped[dict[str, Any]]
    solver_status: Mapped[str | None] = mapped_column(String(50))
    message: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]

    job: Mapped[Job] = relationship(lazy="joined")
