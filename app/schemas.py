"""The bodies of the API: what a caller may send and what it gets back.

Weights are ``{domain: weight}``; losses are in the target's unit and minimised; tokens are counts; times are
aware and UTC. ``Create`` records are what a caller sends, ``Read`` records what it gets.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Generic, Literal, Self, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from proxy_training.spec import Measured, ProxyResult, ProxySettings, ProxySpec, Stage, TrajectoryPoint

Name = Annotated[str, Field(min_length=1, max_length=200)]
NonNegative = Annotated[FiniteFloat, Field(ge=0)]
Weights = dict[Name, NonNegative]
Item = TypeVar("Item")

# A published mixture is rounded; within this of 1 the service renormalises, beyond it refuses.
WEIGHT_SUM_TOLERANCE = 0.005


class Body(BaseModel):
    """What a caller sends: an unknown field is an error that names it."""

    model_config = ConfigDict(extra="forbid")


class Answer(BaseModel):
    """What a caller gets."""

    model_config = ConfigDict(from_attributes=True)


class Problem(BaseModel):
    """RFC 9457. ``errors`` names each wrong field and what would be accepted."""

    type: str
    title: str
    status: int
    detail: str
    instance: str | None = None
    errors: list[dict[str, str]] | None = None


# --- studies -------------------------------------------------------------------------------------------------------


class DomainIn(Body):
    name: Name
    available_tokens: int | None = Field(default=None, ge=1, le=10**18)
    prior: NonNegative | None = Field(default=None, description="natural share; from available_tokens when left out")
    source: str = Field(default="", max_length=2000, description="where the documents come from")
    licence: str = Field(default="", max_length=500)


class TargetIn(Body):
    name: Name
    unit: str = Field(default="bits_per_byte", max_length=50)
    direction: Literal["minimize", "maximize"] = "minimize"
    weight: NonNegative = 1.0
    family: str = Field(default="", max_length=200)


class Constraints(Body):
    """Limits on recommended weights. The epoch cap is ``max_epochs * available_tokens / target_tokens``."""

    target_tokens: int | None = Field(default=None, ge=1, le=10**18)
    max_epochs: float | None = Field(default=None, gt=0, le=1000)
    min_weights: dict[Name, Annotated[float, Field(ge=0, le=1)]] = {}
    max_weights: dict[Name, Annotated[float, Field(ge=0, le=1)]] = {}

    @model_validator(mode="after")
    def _cap_is_complete(self) -> Self:
        if (self.target_tokens is None) != (self.max_epochs is None):
            raise ValueError("an epoch cap needs both target_tokens and max_epochs")
        return self


class Objective(Body):
    """The weighted mean of the targets (weights from the targets) plus ``kl_to_prior * KL(p || prior)``."""

    kl_to_prior: float = Field(default=0.05, ge=0, le=1000)


class StudyCreate(Body):
    name: Name
    description: str = Field(default="", max_length=10_000)
    domains: list[DomainIn] = Field(min_length=1, max_length=1000)
    targets: list[TargetIn] = Field(min_length=1, max_length=2000)
    objective: Objective = Objective()
    constraints: Constraints = Constraints()


class DomainSetRead(Answer):
    id: UUID
    version: int
    content_hash: str
    domains: list[DomainIn]
    created_at: datetime


class StudyRead(Answer):
    id: UUID
    name: str
    description: str
    domain_set: DomainSetRead
    targets: list[TargetIn]
    objective: Objective
    constraints: Constraints
    run_counts: dict[str, int]
    created_at: datetime


class Page(Answer, Generic[Item]):
    items: list[Item]
    next_cursor: str | None = None


# --- suggestions and runs ------------------------------------------------------------------------------------------


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
    """``queued -> leased -> succeeded | failed``; a lease that runs out goes back to ``queued``."""

    QUEUED = "queued"  # waits for an agent
    LEASED = "leased"  # an agent trains it and must send heartbeats
    SUCCEEDED = "succeeded"  # has its losses
    FAILED = "failed"  # diverged, or out of attempts; the reason is in `error`
    CANCELLED = "cancelled"  # taken back by a user
    PRUNED = "pruned"  # stopped early on purpose


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


# --- agents --------------------------------------------------------------------------------------------------------


class AgentCreate(Body):
    name: Name
    hostname: str = Field(default="", max_length=300)
    device: str = Field(default="", max_length=300)


class AgentRead(Answer):
    id: UUID
    name: str
    hostname: str
    device: str
    created_at: datetime
    last_seen_at: datetime


class ClaimCreate(Body):
    """Asks for up to ``max_runs`` runs that can be trained as one stack, on one of the corpora the agent holds."""

    agent_id: UUID
    max_runs: int = Field(ge=1, le=1024)
    corpus_hashes: list[str] = Field(min_length=1, max_length=1000)
    lease_seconds: float = Field(default=30, ge=1, le=3600)


class ClaimedRun(Answer):
    run_id: UUID
    attempt: int
    spec: ProxySpec


class ClaimRead(Answer):
    runs: list[ClaimedRun]
    lease_seconds: float


class HeldRun(Body):
    run_id: UUID
    attempt: int = Field(ge=1)
    progress_tokens: int = Field(default=0, ge=0, le=10**18)


class HeartbeatCreate(Body):
    runs: list[HeldRun] = Field(max_length=1024)
    lease_seconds: float = Field(default=30, ge=1, le=3600)


class HeartbeatRead(Answer):
    """``lost`` are the runs that the agent holds no more: stop them and report nothing."""

    lost: list[UUID]


class MeasurementCreate(Body):
    attempt: int = Field(ge=1)
    point: TrajectoryPoint


class CompletionCreate(Body):
    attempt: int = Field(ge=1)
    result: ProxyResult


class FailureCreate(Body):
    attempt: int = Field(ge=1)
    reason: str = Field(min_length=1, max_length=10_000)
    retry: bool = True


class ReleaseCreate(Body):
    attempt: int = Field(ge=1)


# --- fits ----------------------------------------------------------------------------------------------------------


class JobState(StrEnum):
    """Fits and recommendations are jobs of the service itself."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class FitCreate(Body):
    laws: list[str] | None = Field(default=None, description="names of laws; every law when left out")
    folds: int = Field(default=5, ge=2, le=50)
    seed: int = Field(default=0, ge=0, lt=2**31)


class TargetFidelity(Answer):
    """Inside groups of equal scale. A regret is a loss above that of the best run; ``predicted_by`` is for laws made of
    others."""

    target: str
    spearman: float | None
    pearson: float | None = None
    mae: float
    relative_error: float | None = None
    r2: float | None
    regret: float | None = None
    random_regret: float | None = None
    predicted_by: str | None = None


class LawFidelity(Answer):
    """Out of fold. ``objective`` is the weighted mean of the targets; ``skipped`` says why a law was not fitted.

    ``transfer_spearman`` is the rank correlation at the largest scale after a fit to the other scales.
    """

    law: str
    skipped: str | None = None
    objective_spearman: float | None = None
    objective_pearson: float | None = None
    objective_mae: float | None = None
    objective_relative_error: float | None = None
    objective_r2: float | None = None
    objective_regret: float | None = None
    objective_random_regret: float | None = None
    coverage90: float | None = None
    transfer_spearman: float | None = None
    fit_seconds: float | None = None
    note: str | None = None
    targets: list[TargetFidelity] = []


class OutOfFoldPoint(Answer):
    run_id: str
    observed: float
    predicted: float


class OutOfFoldRead(Answer):
    """Points of one target (or of the objective when ``target`` is null) under one law."""

    fit_id: UUID
    law: str
    target: str | None
    points: list[OutOfFoldPoint]


class FitRead(Answer):
    id: UUID
    study_id: UUID
    state: JobState
    progress: float
    laws: list[str]
    folds: int
    seed: int
    runs_used: int
    runs_hash: str
    chosen_law: str | None
    reason: str | None
    fidelity: list[LawFidelity]
    error: str | None
    created_at: datetime
    finished_at: datetime | None


class PredictionCreate(Body):
    weights: list[Weights] = Field(min_length=1, max_length=1000)
    law: str | None = Field(default=None, description="the chosen law when left out")
    model_params: int | None = Field(default=None, ge=1, le=10**15)
    train_tokens: int | None = Field(default=None, ge=1, le=10**18)


class Interval(Answer):
    """A predicted loss with its 90 % interval."""

    mean: float
    low: float
    high: float


class MixturePrediction(Answer):
    weights: dict[str, float]
    objective: Interval
    targets: dict[str, Interval]


class PredictionsRead(Answer):
    law: str
    predictions: list[MixturePrediction]


# --- recommendations -----------------------------------------------------------------------------------------------


class RecommendationCreate(Body):
    """Objective and constraints are the study's unless they are given here."""

    fit_id: UUID
    law: str | None = Field(default=None, description="the fit's chosen law when left out")
    objective: Objective | None = None
    constraints: Constraints | None = None
    seed: int = Field(default=0, ge=0, lt=2**31)


class DomainWeight(Answer):
    domain: str
    prior: float
    weight: float
    max_weight: float
    epochs: float | None
    capped: bool


class RecommendationRead(Answer):
    """``predictions`` holds ``recommended`` and each baseline (``natural``, ``uniform``, ``best_measured``, ...)."""

    id: UUID
    study_id: UUID
    fit_id: UUID
    state: JobState
    law: str
    objective: Objective
    constraints: Constraints
    stages: list[Stage]
    weights: list[DomainWeight]
    predictions: dict[str, MixturePrediction]
    solver_status: str | None
    message: str | None
    runs_hash: str
    error: str | None
    created_at: datetime
    finished_at: datetime | None


class VerificationCreate(Body):
    """Train the recommended mixture and the baselines with each of the seeds; these runs never enter a fit."""

    settings: ProxySettings
    seeds: list[Annotated[int, Field(ge=0, lt=2**31)]] = Field(min_length=2, max_length=100)
    baselines: list[Literal["uniform", "natural"]] = ["uniform", "natural"]


class ArmRead(Answer):
    """One verified mixture: the measured objective over seeds beside the predicted one."""

    name: str
    weights: dict[str, float]
    seeds_done: int
    seeds_asked: int
    mean: float | None
    stderr: float | None
    predicted: Interval | None


class ContrastRead(Answer):
    """Recommended minus baseline over common seeds, with its 95 % interval; below 0 the recommendation is better."""

    baseline: str
    difference: float | None
    low: float | None
    high: float | None
    verdict: Literal["better", "no difference shown", "worse", "not enough runs"]


class VerificationRead(Answer):
    recommendation_id: UUID
    done: bool
    arms: list[ArmRead]
    contrasts: list[ContrastRead]
