"""Bodies: suggestions and runs."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Self
from uuid import UUID

from pydantic import Field, FiniteFloat, model_validator

from app.schemas.common import Answer, Body, Name, Weights
from proxy_training.spec import Measured, ProxySettings, TrajectoryPoint


class SuggestionCreate(Body):
    count: int = Field(ge=1, le=10_000)
    design: str = "dirichlet"
    seed: int = Field(default=0, ge=0, lt=2**31)


class Suggestion(Answer):
    weights: dict[str, float]
    why: str


class SuggestionsRead(Answer):
    design: str
    suggestions: list[Suggestion]


class RunState(StrEnum):
    """``queued -> leased -> succeeded | failed``; a lease that runs out returns to ``queued``, at last ``stale``."""

    QUEUED = "queued"  # waits for an agent
    LEASED = "leased"  # an agent trains it and must send heartbeats
    SUCCEEDED = "succeeded"  # has its losses
    FAILED = "failed"  # diverged, or out of attempts; the reason is in `error`
    CANCELLED = "cancelled"  # taken back by a user
    PRUNED = "pruned"  # stopped early on purpose
    STALE = "stale"  # its agents fell silent as often as attempts are allowed; nothing is known against the mixture


class AttemptOutcome(StrEnum):
    """How one attempt at a run ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"  # the agent reported an error, or the run diverged
    PREEMPTED = "preempted"  # the agent was told to stop and gave the run back; it does not count as an attempt
    STALE = "stale"  # the lease ran out
    CANCELLED = "cancelled"
    PRUNED = "pruned"


class RunSource(StrEnum):
    """Where a data point comes from."""

    PROXY = "proxy"  # trained by an agent of this service
    IMPORTED = "imported"
    MANUAL = "manual"  # reported by a caller who trained it
    ADAPTIVE = "adaptive"  # weights moved while it trained; not a data point for a static law


class RunCreate(Body):
    """Either ``settings`` (queue it for an agent) or ``losses`` (it was trained elsewhere)."""

    weights: Weights
    settings: ProxySettings | None = None
    seed: int = Field(default=0, ge=0, lt=2**31)
    label: str = Field(default="", max_length=200)
    purpose: str = Field(default="swarm", max_length=50)
    exclude_from_fit: bool = False
    priority: int = Field(default=0, ge=-1000, le=1000)
    losses: dict[Name, FiniteFloat] | None = None
    model_params: int | None = Field(default=None, ge=1, le=10**15)
    train_tokens: int | None = Field(default=None, ge=1, le=10**18)

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.settings is None) == (self.losses is None):
            raise ValueError("give either settings (to queue the run) or losses (of a run trained elsewhere)")
        if self.settings is not None and (self.model_params or self.train_tokens):
            raise ValueError("model_params and train_tokens of a queued run follow from its settings")
        return self


class RunBatchCreate(Body):
    runs: list[RunCreate] = Field(min_length=1, max_length=10_000)


class RunRead(Answer):
    id: UUID
    study_id: UUID
    domain_set_id: UUID
    label: str
    purpose: str
    state: RunState
    source: RunSource
    exclude_from_fit: bool
    weights: dict[str, float]
    seed: int
    model_params: int | None
    train_tokens: int | None
    attempt: int
    max_attempts: int
    agent_id: UUID | None
    lease_expires_at: datetime | None
    progress_tokens: int
    losses: dict[str, Measured] | None
    realised_weights: dict[str, float] | None
    wall_seconds: float | None
    error: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class RunsCreated(Answer):
    runs: list[RunRead]
    renormalised: int = Field(description="how many runs had weights off by rounding")


class TrajectoryRead(Answer):
    run_id: UUID
    points: list[TrajectoryPoint]
