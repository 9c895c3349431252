"""Bodies: fits, their fidelity, and predictions."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import Field

from app.schemas.common import Answer, Body, Weights
from app.schemas.jobs import JobState
from app.schemas.run_fidelity import RunFidelity
from app.schemas.run_points import RunPoints


class RunFilter(Body):
    """Which of the measured runs enter a fit; each field that is given must hold."""

    model_params: list[Annotated[int, Field(ge=1)]] | None = Field(
        default=None, min_length=1, description="runs of these sizes only"
    )
    train_tokens: list[Annotated[int, Field(ge=1)]] | None = Field(
        default=None, min_length=1, description="runs of these lengths only"
    )
    fidelity: RunFidelity = Field(
        default=RunFidelity.TRAINED, description="runs of this fidelity; the two are never fitted together"
    )
    staged: bool = Field(
        default=False,
        description="also runs of several stages, each as the mean of its stages weighted by tokens; laws know "
        "mixtures that do not change",
    )
    points: RunPoints = Field(
        default=RunPoints.END,
        description="all: every point that a run measured on its way is an observation of its own, at its own "
        "train_tokens, so that laws that know tokens learn from runs of one length; points of runs of several stages, "
        "and of runs whose train_tokens are not known, stay out. The filter chooses runs, by their ends",
    )
    purposes: list[Annotated[str, Field(max_length=50)]] | None = Field(
        default=None, min_length=1, description="runs of these purposes only"
    )
    exclude: list[UUID] = Field(default=[], max_length=10_000, description="runs that do not enter this fit")


class FitCreate(Body):
    laws: list[str] | None = Field(default=None, description="names of laws; every law when left out")
    runs: RunFilter | None = Field(default=None, description="every measured run of one mixture when left out")
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
    """``train_tokens`` are those of the point, null where they are not known."""

    run_id: str
    train_tokens: float | None = None
    observed: float
    predicted: float


class OutOfFoldRead(Answer):
    """Points of one target (or of the objective when ``target`` is null) under one law."""

    fit_id: UUID
    law: str
    target: str | None
    points: list[OutOfFoldPoint]


class OutlierRead(Answer):
    """A measurement that is far off: by how many spreads it lies above (or below 0: under) where it should.
    ``train_tokens`` are those of the point, null where they are not known."""

    run_id: str
    train_tokens: float | None = None
    target: str
    value: float
    distance: float | None


class NoiseRead(Answer):
    """Standard deviations between repeats of one mixture."""

    objective: float | None
    targets: dict[str, float | None]


class Findings(Answer):
    """What was found about the runs. What diverged was left out; suspects stayed, and a person should look at them."""

    noise_floor: NoiseRead | None
    diverged: list[OutlierRead]
    suspects: list[OutlierRead]


class PointsUsed(Answer):
    """The points of a fit that takes every one of its runs."""

    used: int = Field(description="ends included")
    falling_rate: int = Field(
        description="points on the way that are not those of shorter runs: their learning rate was falling to a "
        "later end"
    )
    unknown_rate: int = Field(description="points on the way of runs trained elsewhere, of which that is not known")
    warnings: list[str]


class FitRead(Answer):
    """``chosen_law`` is ``auto`` where that was fitted, else the law that ranks unseen mixtures best.

    That is the law that ``mixwright recommend`` takes by default on the same runs.
    """

    VOLATILE: ClassVar[frozenset[str]] = frozenset({"progress", "message"})

    id: UUID
    study_id: UUID
    domain_set_id: UUID
    state: JobState
    progress: float
    message: str = Field(description="what the worker is at")
    laws: list[str]
    runs: RunFilter | None
    folds: int
    seed: int
    runs_used: int
    points: PointsUsed | None = Field(description="null where each run counts by its end alone")
    runs_left_out: int = Field(description="measured runs of domain sets with other domains, which cannot enter")
    runs_excluded: int = Field(description="measured runs that are flagged, or whose weights moved while they trained")
    targets_left_out: list[str] = Field(description="no run has measured these targets yet")
    runs_filtered: int = Field(
        description="measured runs that the filter of this fit keeps out, with all of the other fidelity and, unless "
        "it asks for them, those of several stages"
    )
    runs_hash: str
    chosen_law: str | None
    reason: str | None
    fidelity: list[LawFidelity]
    findings: Findings | None
    error: str | None
    created_at: datetime
    finished_at: datetime | None


class LawVerdict(Answer):
    """One law of a comparison. ``price`` is its rank correlation below that of the best single law in hindsight."""

    law: str
    skipped: str | None
    combined: bool = Field(description="made of other laws")
    objective_spearman: float | None
    objective_mae: float | None
    transfer_spearman: float | None
    coverage90: float | None
    fit_seconds: float | None
    price: float | None


class TargetVerdicts(Answer):
    """One target: the law that ranks it best, and how each law does. Laws that were skipped are left out."""

    target: str
    best_law: str | None
    spearman: dict[str, float | None]
    mae: dict[str, float]


class FitComparison(Answer):
    """Laws by targets, out of fold; laws from the best to the worst on the objective."""

    fit_id: UUID
    chosen_law: str
    reason: str | None
    laws: list[LawVerdict]
    targets: list[TargetVerdicts]
    findings: Findings | None


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


class WhatIf(MixturePrediction):
    """A prediction, and how far it is from what was measured.

    ``distance`` is the sum of absolute differences to the weights of the nearest run, from 0 to 2; ``far`` is true
    where nothing like it was measured. ``unseen_domains`` have weight here, but no run contained them.
    """

    nearest_run: str
    distance: float
    far: bool
    unseen_domains: list[str]


class PredictionsRead(Answer):
    """``warnings`` say where the scale lies beyond every run."""

    law: str
    model_params: float | None
    train_tokens: float | None
    predictions: list[WhatIf]
    warnings: list[str]
