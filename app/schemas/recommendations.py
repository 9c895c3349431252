"""Bodies: recommendations and their verification."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

from pydantic import Field

from app.schemas.common import Answer, Body, Name
from app.schemas.fits import Interval, LawFidelity, MixturePrediction
from app.schemas.jobs import JobState
from app.schemas.run_fidelity import RunFidelity
from app.schemas.stages import StageCreate
from app.schemas.wishes import Constraints, Objective
from proxy_training.spec import ProxySettings, Stage


class RecommendationCreate(Body):
    """Objective and constraints are the study's unless they are given here.

    With ``stages`` nothing is searched: the weights are yours, stage by stage. They are predicted beside the baselines,
    can be adopted, exported and verified as any others are. Laws know mixtures that do not change, so what is
    predicted is the mean of the stages, weighted by their tokens.
    """

    fit_id: UUID
    law: str | None = Field(default=None, description="the fit's chosen law when left out")
    objective: Objective | None = None
    constraints: Constraints | None = None
    model_params: int | None = Field(default=None, ge=1, le=10**15, description="predict at this size")
    train_tokens: int | None = Field(default=None, ge=1, le=10**18, description="predict at this length")
    stages: list[StageCreate] | None = Field(
        default=None, min_length=1, max_length=100, description="weights of your own, from token 0 on and without gaps"
    )
    pareto: bool = Field(default=False, description="also find mixtures along the trade-off between target families")
    seed: int = Field(default=0, ge=0, lt=2**31)


class DomainWeight(Answer):
    """One domain. ``low`` and ``high`` are how far its weight can move at nearly the same objective.

    ``held_by`` is the bound that it stands at. What is not known is null.
    """

    domain: str
    prior: float
    weight: float
    low: float | None = None
    high: float | None = None
    min_weight: float = 0.0
    max_weight: float
    held_by: str | None = None
    epochs: float | None
    wasted_tokens: float | None = None
    capped: bool


class GainRead(Answer):
    """How much better the recommended mixture is predicted to be; above 0 it is better, in every target."""

    objective: Interval
    targets: dict[str, Interval]


class OfferedRead(Answer):
    """The mixture to act on: ``best_measured`` where the gain over it is within the noise. ``runs`` trained it."""

    mixture: str
    within_noise: bool | None
    runs: list[str]
    weights: dict[str, float]


class StatedConstraint(Answer):
    kind: str
    subject: str
    limit: float
    at_least: bool


class PriceRead(StatedConstraint):
    """What relaxing an active constraint is worth: ``value`` is the decrease of the objective per ``unit``."""

    multiplier: float
    value: float
    unit: str
    words: str


class ScaleRead(Answer):
    model_params: float | None
    train_tokens: float | None


class SensitivityRead(Answer):
    """The loss of objective that the ``low`` and ``high`` of the weights allow, and how they were found."""

    margin: float
    method: str


class ParetoPointRead(Answer):
    weights: dict[str, float]
    values: dict[str, float]


class ParetoRead(Answer):
    """Mixtures along the trade-off between families; ``ideal`` is the best of each family alone."""

    families: list[str]
    ideal: dict[str, float]
    points: list[ParetoPointRead]


class SolverRead(Answer):
    status: str
    value: float | None
    residual: float | None
    message: str


class RecommendationDetails(Answer):
    """What is known beside the weights. ``outside`` are baselines that the constraints do not allow.

    ``unconstrained`` is the best mixture without constraints on weights or targets: its gain is their price.
    ``warnings`` say where the predictions are for a larger run than any that was measured.
    """

    scale: ScaleRead
    target_weights: dict[str, float]
    constraints: list[StatedConstraint]
    gains: dict[str, GainRead]
    outside: list[str]
    offered: OfferedRead
    unseen_domains: list[str]
    prices: list[PriceRead]
    kkt_residual: float | None
    sensitivity: SensitivityRead | None
    worst_mixture: MixturePrediction | None
    unconstrained: MixturePrediction | None = None
    pareto: ParetoRead | None
    solver: SolverRead
    warnings: list[str] = []


class Provenance(Answer):
    """Where a recommendation came from: the law, how it did on runs it had not seen, and the data, by content."""

    fit_id: UUID
    law: str
    reason: str | None
    fidelity: LawFidelity
    runs: int
    run_fidelity: RunFidelity = Field(
        default=RunFidelity.TRAINED, description="merged: the law knows averages of models alone"
    )
    staged_runs: int = Field(
        default=0,
        description="how many of them changed their weights on the way; each counted as the mean of its stages",
    )
    points: int | None = Field(
        default=None, description="points of these runs, ends included; null where each counted by its end alone"
    )
    runs_hash: str
    domain_set_id: UUID
    domain_set_version: int
    domain_set_hash: str
    seed: int
    solver_status: str
    mixwright_version: str


class RecommendationRead(Answer):
    """``predictions`` holds ``recommended`` and each baseline (``natural``, ``uniform``, ``best_measured``, ...).

    ``details`` and ``provenance`` are null until it has succeeded, and in lists.
    """

    VOLATILE: ClassVar[frozenset[str]] = frozenset({"progress", "progress_message"})

    id: UUID
    study_id: UUID
    fit_id: UUID
    state: JobState
    progress: float
    progress_message: str = Field(description="what the worker is at")
    law: str
    objective: Objective
    constraints: Constraints
    model_params: float | None
    train_tokens: float | None
    pareto: bool
    stages: list[Stage]
    weights: list[DomainWeight]
    predictions: dict[str, MixturePrediction]
    solver_status: str | None
    message: str | None
    details: RecommendationDetails | None
    provenance: Provenance | None
    runs_hash: str
    error: str | None
    created_at: datetime
    finished_at: datetime | None


class DomainChange(Answer):
    """One domain: its weight here minus its weight there. A domain that one side lacks has weight 0 there."""

    domain: str
    weight: float
    against: float
    change: float
    tokens_moved: float | None = Field(description="of the planned run; null where its tokens are not known")
    epochs_change: float | None


class Changed(Answer):
    """A field that differs: its value here, and there."""

    here: Any
    there: Any


class RunsChanged(Answer):
    """Runs that only one of the two fits used."""

    added: int
    removed: int
    same_data: bool


class RecommendationDiff(Answer):
    """One recommendation against another mixture.

    ``gains`` are predicted by the law of this one at its scale, above 0 where this one is better; null where the other
    mixture has domains that the law does not know. What was asked is compared only with another recommendation.
    """

    recommendation_id: UUID
    against: str
    against_id: UUID | None
    share_moved: float = Field(description="the share of the mixture that changes hands")
    tokens_moved: float | None
    domains: list[DomainChange]
    gains: GainRead | None
    objective: dict[str, Changed]
    constraints: dict[str, Changed]
    law: Changed | None
    scale: Changed | None
    runs: RunsChanged | None


class VerificationCreate(Body):
    """Train the recommended mixture and the baselines with each of the seeds; these runs never enter a fit."""

    settings: ProxySettings
    seeds: list[Annotated[int, Field(ge=0, lt=2**31)]] = Field(min_length=2, max_length=100)
    baselines: list[Name] = Field(
        default=["uniform", "natural"],
        max_length=20,
        description="mixtures that the recommendation was predicted beside",
    )


class ArmRead(Answer):
    """One verified mixture: the measured objective over seeds beside the predicted one."""

    name: str
    weights: dict[str, float]
    stages: list[Stage] = Field(
        description="what its runs train where their weights change on the way; `weights` are the mean of these"
    )
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
    notes: list[str] = Field(description="what was trained and what was predicted, where the two differ")
