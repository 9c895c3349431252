"""Bodies: fits, their fidelity, and predictions."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from pydantic import Field

from app.schemas.common import Answer, Body, Weights
from app.schemas.jobs import JobState


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
    runs_left_out: int = Field(description="measured runs of domain sets with other domains, which cannot enter")
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
