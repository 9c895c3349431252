"""Tables: runs and what they measured on the way."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base
from app.schemas.run_fidelity import RunFidelity
from app.schemas.runs import AttemptOutcome, RunSource, RunState
from proxy_training.spec import Processor


class Run(Base):
    """One data point, waiting, in work or measured. ``losses`` holds the study's targets in their own direction.

    ``attempt`` is the number of the last claim. An agent that writes must name it, so that a late one changes
    nothing.
    """

    __tablename__ = "runs"
    __table_args__ = (
        Index("ix_runs_page", "study_id", "id"),
        # Counts by state, and pages of one state.
        Index("ix_runs_state", "study_id", "state", "id"),
        Index("ix_runs_queue", "state", "queue_rank", "id"),
        # An agent with one corpus must not walk over what waits for others.
        Index("ix_runs_corpus", "state", "corpus_hash", "queue_rank", "id"),
        Index("ix_runs_batch", "state", "batch_key", "queue_rank", "id"),
        Index("ix_runs_lease", "state", "lease_expires_at"),
        Index("ix_runs_agent", "agent_id", "id"),
        Index("ix_runs_recommendation", "recommendation_id", "id"),
        # How many wait for each corpus, and which run is like another one.
        Index("ix_runs_waiting", "study_id", "state", "corpus_hash"),
        Index("ix_runs_content", "study_id", "content_key"),
        Index("ix_runs_external", "study_id", "external_id", unique=True),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    study_id: Mapped[UUID] = mapped_column(ForeignKey("studies.id"))
    domain_set_id: Mapped[UUID] = mapped_column(ForeignKey("domain_sets.id"))
    label: Mapped[str] = mapped_column(String(200))
    purpose: Mapped[str] = mapped_column(String(50))
    state: Mapped[RunState]
    source: Mapped[RunSource]
    fidelity: Mapped[RunFidelity]
    exclude_from_fit: Mapped[bool]
    # The mean of the stages, where there are several.
    weights: Mapped[dict[str, Any]]
    stages: Mapped[list[Any] | None]
    seed: Mapped[int] = mapped_column(BigInteger)
    settings: Mapped[dict[str, Any] | None]
    batch_key: Mapped[str | None] = mapped_column(String(64))
    # Equal for runs that train the same (``services/run_content.py``).
    content_key: Mapped[str | None] = mapped_column(String(32))
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
    # The run's name where it was imported from; importing it again finds it by this.
    external_id: Mapped[str | None] = mapped_column(String(300))
    import_id: Mapped[UUID | None]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

    @property
    def priority(self) -> int:
        """The higher, the earlier."""
        return -self.queue_rank

    @property
    def bits_per_byte(self) -> dict[str, Any] | None:
        """Every loss that its agent reported, targets or not."""
        return self._reported("value", "stderr")

    @property
    def nats_per_token(self) -> dict[str, Any] | None:
        """The same losses in the other unit, as far as the trainer knew it."""
        return self._reported("nats_per_token", "nats_per_token_stderr")

    def _reported(self, value: str, stderr: str) -> dict[str, Any] | None:
        losses = (self.result or {}).get("losses", {})
        found = {
            name: {"value": loss[value], "stderr": loss.get(stderr)} for name, loss in losses.items() if value in loss
        }
        return found or None

    @property
    def realised_stages(self) -> list[Any] | None:
        """What each of several stages was trained on, as its agent reported."""
        return (self.result or {}).get("realised_stages") or None


class Measurement(Base):
    """One point of a run's trajectory, as one attempt measured it."""

    __tablename__ = "measurements"

    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    train_tokens: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    losses: Mapped[dict[str, Any]]


class RunAttempt(Base):
    """One claim of a run: who held it, and how it ended (null while it is held).

    ``stack_size`` is the number of runs of the same claim, which shared the agent. ``processor`` is what the agent said
    that it would train them on, cpu or gpu.
    """

    __tablename__ = "run_attempts"

    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    agent_id: Mapped[UUID] = mapped_column(ForeignKey("agents.id"))
    stack_size: Mapped[int]
    processor: Mapped[Processor] = mapped_column(String(10))
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    outcome: Mapped[AttemptOutcome | None]
    reason: Mapped[str | None] = mapped_column(Text)
