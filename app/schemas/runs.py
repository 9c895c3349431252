"""Bodies: suggestions and runs."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, ClassVar, Self
from uuid import UUID

from pydantic import Field, FiniteFloat, model_validator

from app.schemas.common import Answer, Body, Moment, Name, NonNegative, Weights
from app.schemas.names import ExternalId
from app.schemas.run_fidelity import RunFidelity
from app.schemas.stages import StageCreate
from proxy_training.spec import ProxySettings, Stage


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


# A 64-bit column holds it, and so does a float without rounding twice.
Count = Annotated[int, Field(ge=1, le=10**18)]
Label = Annotated[str, Field(max_length=200)]
Purpose = Annotated[str, Field(max_length=50)]
Priority = Annotated[int, Field(ge=-1000, le=1000)]


class Loss(Body):
    """The value of a target in the target's own unit and direction, and its standard error."""

    value: FiniteFloat
    stderr: NonNegative | None = None


class LossPoint(Body):
    """The targets that were measured after so many tokens."""

    train_tokens: int = Field(gt=0, le=10**13)
    losses: dict[str, Loss]


class RunCreate(Body):
    """Either ``settings`` (queue it for an agent) or ``losses`` (it was trained elsewhere).

    Either ``weights``, or ``stages`` of weights that change on the way. A run of several stages is no run on the mean
    of its stages: fits leave it out unless they ask for it (``staged``).
    """

    weights: Weights | None = Field(default=None, description="of the whole run")
    stages: list[StageCreate] | None = Field(
        default=None,
        min_length=1,
        max_length=100,
        description="weights by tokens, from token 0 to the last one of the run and without gaps",
    )
    settings: ProxySettings | None = None
    seed: int = Field(default=0, ge=0, lt=2**31)
    label: Label = ""
    purpose: Purpose = "swarm"
    exclude_from_fit: bool = False
    priority: Priority = 0
    external_id: ExternalId | None = Field(default=None, description="your own name of the run; unique in the study")
    losses: dict[Name, FiniteFloat | Loss] | None = Field(
        default=None, description="a number, or a value with its standard error, for each measured target"
    )
    fidelity: RunFidelity = Field(
        default=RunFidelity.TRAINED, description="merged where the losses are those of averaged models"
    )
    trajectory: list[LossPoint] = Field(default=[], max_length=1000)
    model_params: Annotated[int, Field(ge=1, le=10**15)] | None = None
    train_tokens: Count | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.settings is None) == (self.losses is None):
            raise ValueError("give either settings (to queue the run) or losses (of a run trained elsewhere)")
        if (self.weights is None) == (self.stages is None):
            raise ValueError("give either weights (of the whole run) or stages (weights that change on the way)")
        if self.settings is None:
            return self
        if self.model_params or self.train_tokens:
            raise ValueError("model_params and train_tokens of a queued run follow from its settings")
        if self.fidelity is not RunFidelity.TRAINED:
            raise ValueError("a queued run will be trained; fidelity merged is for losses of averaged models")
        if self.trajectory:
            raise ValueError("a queued run has no trajectory yet")
        return self


class RunUpdate(Body):
    """What may change at any time; a field that is left out stays as it is."""

    label: Label = ""
    priority: Priority = 0
    exclude_from_fit: bool = False


class RunFilter(Body):
    """Runs that are like this in every field that is given."""

    purpose: Purpose | None = None
    source: RunSource | None = None
    fidelity: RunFidelity | None = None
    staged: bool | None = Field(default=None, description="whether the weights change on the way, in several stages")
    label: Label | None = Field(default=None, description="a part of the label, in small or capital letters")
    exclude_from_fit: bool | None = None
    recommendation_id: UUID | None = None
    model_params: Count | None = None
    created_after: Moment | None = None


class RunQuery(RunFilter):
    """A page of the runs of a study."""

    EXACT: ClassVar[bool] = False  # a query is text

    state: list[RunState] = Field(default=[], max_length=20, description="any of these")
    agent_id: UUID | None = Field(default=None, description="the agent that holds it, or held it last")
    limit: int = Field(default=100, ge=1, le=1000, description="the most items of a page")
    cursor: str | None = Field(default=None, max_length=100, description="next_cursor of the page before")


class RunsCancelled(Answer):
    cancelled: int = Field(description="how many runs waited and were taken back")


class RunBatchCreate(Body):
    """What the study has already is not queued again: a run of equal weights or stages, settings and seed that waits,
    is in work, has succeeded or was pruned. Verifications do not count, nor do runs on domains that have changed."""

    runs: list[RunCreate] = Field(min_length=1, max_length=10_000)
    repeat: bool = Field(default=False, description="queue again what the study has already; nothing is skipped")


class SkippedRun(Answer):
    """A run that was not queued, because there is one like it."""

    index: int = Field(description="its place among the runs of the call, from 0")
    run_id: UUID = Field(description="the run that is there")
    state: RunState


class RunRead(Answer):
    # What agents and the clock change; the rest is what a caller can change, or stays.
    VOLATILE: ClassVar[frozenset[str]] = frozenset(
        {
            "state", "attempt", "max_attempts", "agent_id", "lease_expires_at", "progress_tokens", "losses",
            "bits_per_byte", "nats_per_token",
            "realised_weights", "realised_stages", "wall_seconds", "error", "started_at", "finished_at",
        }
    )  # fmt: skip

    id: UUID
    study_id: UUID
    domain_set_id: UUID
    label: str
    purpose: str
    state: RunState
    source: RunSource
    fidelity: RunFidelity
    exclude_from_fit: bool
    priority: int
    weights: dict[str, float] = Field(description="of all its tokens; with stages their mean, weighted by tokens")
    stages: list[Stage] | None = Field(description="where the weights change on the way: at least two")
    seed: int
    model_params: int | None
    train_tokens: int | None
    attempt: int
    max_attempts: int
    agent_id: UUID | None
    lease_expires_at: datetime | None
    progress_tokens: int
    losses: dict[str, Loss] | None = Field(description="of the targets, each in its target's unit")
    bits_per_byte: dict[str, Loss] | None = Field(description="all losses that its agent reported, in this unit")
    nats_per_token: dict[str, Loss] | None = Field(description="the same in this unit, where the trainer knew it")
    realised_weights: dict[str, float] | None
    realised_stages: list[Stage] | None = Field(
        description="the shares of the domains in the whole sequences that were trained in each of several stages"
    )
    wall_seconds: float | None
    error: str | None
    recommendation_id: UUID | None
    external_id: str | None
    import_id: UUID | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class RunsCreated(Answer):
    runs: list[RunRead] = Field(description="those that were made")
    skipped: list[SkippedRun] = Field(default=[], description="those that the study has already, in their order")
    renormalised: int = Field(description="how many runs had weights off by rounding")


class TrajectoryRead(Answer):
    run_id: UUID
    points: list[LossPoint]


class AttemptRead(Answer):
    """One claim of a run; ``outcome`` is null while its agent holds it."""

    attempt: int
    agent_id: UUID
    stack_size: int = Field(description="how many runs were claimed together")
    started_at: datetime
    ended_at: datetime | None
    outcome: AttemptOutcome | None
    reason: str | None
