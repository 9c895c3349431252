"""Bodies: studies, their domain sets and targets."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import Field, FiniteFloat

from app.schemas.budgets import BudgetRead
from app.schemas.common import Answer, Body, Name, NonNegative
from app.schemas.mixture_choice import MixtureChoice
from app.schemas.names import NewName
from app.schemas.wishes import Constraints, Objective


class DomainIn(Body):
    name: Name
    available_tokens: int | None = Field(default=None, ge=1, le=10**18)
    prior: NonNegative | None = Field(default=None, description="natural share; from available_tokens when left out")
    group: str = Field(default="", max_length=200, description="domains of equal group can be bounded together")
    mean_document_tokens: Annotated[FiniteFloat, Field(gt=0, le=1e18)] | None = Field(
        default=None, description="for trainers that sample documents, not tokens"
    )
    source: str = Field(default="", max_length=2000, description="where the documents come from")
    licence: str = Field(default="", max_length=500)


class TargetIn(Body):
    name: Name
    unit: str = Field(
        default="bits_per_byte",
        max_length=50,
        description="of its values; a loss that agents measure is taken in nats_per_token if that stands here, and "
        "else in bits per byte",
    )
    direction: Literal["minimize", "maximize"] = "minimize"
    weight: NonNegative = 1.0
    family: str = Field(default="", max_length=200)
    definition: str = Field(default="", max_length=10_000, description="how the metric is computed")
    definition_version: str = Field(
        default="", max_length=50, description="values of two definitions are never compared"
    )


class Budget(Body):
    """What the proxy runs of a study may cost in all; null is no limit."""

    flops: Annotated[FiniteFloat, Field(ge=0)] | None = None
    gpu_hours: Annotated[FiniteFloat, Field(ge=0)] | None = None


class StudyCreate(Body):
    name: NewName
    description: str = Field(default="", max_length=10_000)
    domains: list[DomainIn] = Field(min_length=1, max_length=1000)
    targets: list[TargetIn] = Field(min_length=1, max_length=2000)
    objective: Objective = Objective()
    constraints: Constraints = Constraints()
    budget: Budget = Budget()


class StudyPatch(Body):
    """What is left out or null stays as it is; what is given replaces the whole field."""

    name: NewName | None = None
    description: str | None = Field(default=None, max_length=10_000)
    objective: Objective | None = None
    constraints: Constraints | None = None
    budget: Budget | None = None


class DomainSetCreate(Body):
    """A new version of the domain set. ``constraints`` replaces the study's, where those name domains that are gone."""

    domains: list[DomainIn] = Field(min_length=1, max_length=1000)
    renames: dict[Name, Name] = Field(
        default={},
        max_length=1000,
        description="{present name: new name} of domains whose name alone changes; their runs stay valid",
    )
    constraints: Constraints | None = None


class DomainSetRead(Answer):
    id: UUID
    study_id: UUID
    version: int
    content_hash: str
    domains: list[DomainIn]
    renames: dict[str, str] = Field(description="{name in the version before: name here}")
    created_at: datetime


class DomainSetUse(DomainSetRead):
    """A version, and what its runs are still good for."""

    VOLATILE: ClassVar[frozenset[str]] = frozenset({"measured_runs", "enters_fits"})

    measured_runs: int = Field(description="runs on this version that a fit could use")
    enters_fits: bool = Field(description="whether the newest version has the same domains, so that they still count")


class RunsWithoutAgent(Answer):
    """Queued runs that nobody would claim at present."""

    corpus_hash: str = Field(description="the corpus that their settings name")
    runs: int


class StudyRead(Answer):
    """``stranded_runs`` counts measured runs of versions with other domains than the newest: no fit can use them."""

    VOLATILE: ClassVar[frozenset[str]] = frozenset(
        {
            "run_counts",
            "stranded_runs",
            "runs_without_agent",
            "budget.spent_flops",
            "budget.reserved_flops",
            "budget.spent_gpu_hours",
            "budget.reserved_gpu_hours",
            "budget.spent_cpu_hours",
            "budget.reserved_cpu_hours",
            "budget.exhausted_on_cpu",
            "budget.exhausted",
        }
    )

    id: UUID
    name: str
    description: str
    domain_set: DomainSetRead
    targets: list[TargetIn]
    objective: Objective
    constraints: Constraints
    budget: BudgetRead
    adopted_recommendation_id: UUID | None
    adopted_mixture: MixtureChoice | None = Field(description="the one of its mixtures that pipelines read")
    adopted_reason: str | None = Field(description="why that one")
    run_counts: dict[str, int]
    stranded_runs: int
    runs_without_agent: list[RunsWithoutAgent] = Field(
        description="queued runs by corpus, where no agent that is alive, takes new runs and may work for this study "
        "has asked for runs of that corpus"
    )
    created_at: datetime
