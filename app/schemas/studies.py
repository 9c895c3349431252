"""Bodies: studies, their domain sets and targets."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import Field, model_validator

from app.schemas.common import Answer, Body, Name, NonNegative


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
