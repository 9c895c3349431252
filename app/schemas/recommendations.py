"""Bodies: recommendations and their verification."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from app.schemas.common import Answer, Body
from app.schemas.fits import Interval, MixturePrediction
from app.schemas.jobs import JobState
from app.schemas.studies import Constraints, Objective
from proxy_training.spec import ProxySettings, Stage


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
