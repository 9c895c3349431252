"""Train a recommended mixture beside its baselines, and compare what was measured over common seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.errors import Conflict, InvalidRequest
from app.ids import new_ids
from app.models import DomainSet, Fit, Recommendation, Run
from app.schemas.fits import Interval
from app.schemas.recommendations import ArmRead, ContrastRead, VerificationCreate, VerificationRead
from app.schemas.runs import RunCreate, RunsCreated, RunState
from app.schemas.stages import StageCreate
from app.services.domain_versions import names_of
from app.services.events import record
from app.services.mixtures import named
from app.services.observations import loss_matrix, targets_of_fit
from app.services.recommendations import find_recommendation, require_recommended
from app.services.runs import new_run, read_runs
from app.services.stages import Mixture, about_verified_stages, mean_weights, scaled_stages
from app.services.studies import find_study
from mixers.agreement import objective_values
from mixers.types import Targets
from mixers.verification import contrast, mean_and_stderr
from proxy_training.spec import Stage

RECOMMENDED = "recommended"
_GONE = (RunState.FAILED, RunState.STALE, RunState.CANCELLED, RunState.PRUNED)


def create_verification(
    session: Session, recommendation_id: UUID, body: VerificationCreate, max_attempts: int, now: datetime
) -> RunsCreated:
    """Queue one run of each arm with each seed, but for those that wait or are trained already.

    They never enter a fit. Asking again therefore replaces only what failed or was cancelled.

    Raises:
        Conflict: the recommendation is not finished, or nothing is missing.
        InvalidRequest: a seed twice; or settings other than those of the seeds before, which could not be compared.
    """
    recommendation = find_recommendation(session, recommendation_id)
    require_recommended(recommendation)
    study = find_study(session, recommendation.study_id)
    fit = session.get_one(Fit, recommendation.fit_id)
    if set(names_of(session.get_one(DomainSet, fit.domain_set_id))) != set(names_of(study.domain_set)):
        raise Conflict("the domains of the study have changed since this fit; fit and recommend again, then verify")
    _check_baselines(recommendation, body.baselines)
    arms = _mixtures(recommendation, [RECOMMENDED, *dict.fromkeys(body.baselines)], body.settings.train_tokens)
    alive = [run for run in _runs(session, recommendation.id) if run.state not in _GONE]
    _check_comparable(alive, body)
    taken = {(run.seed, run.arm) for run in alive}
    pairs = [(seed, arm) for seed in body.seeds for arm in arms if (seed, arm) not in taken]
    if not pairs:
        raise Conflict("every arm is queued or trained with each of these seeds already; ask for other seeds")
    runs = []
    for key, (seed, arm) in zip(new_ids(len(pairs), now), pairs, strict=True):
        mixture = arms[arm]
        wanted = RunCreate(
            weights=None if mixture.stages else mixture.weights,
            stages=[StageCreate.model_validate(stage) for stage in mixture.stages] if mixture.stages else None,
            settings=body.settings,
            seed=seed,
            label=f"{arm}, seed {seed}",
            purpose="verification",
            exclude_from_fit=True,
        )
        run = new_run(key, study, wanted, mixture, max_attempts, now)
        run.recommendation_id, run.arm = recommendation.id, arm
        runs.append(run)
    session.add_all(runs)
    queued = {"runs": len(runs), "seeds": body.seeds, "baselines": list(body.baselines)}
    record(session, "verification.created", now, study_id=study.id, subject_id=recommendation.id, data=queued)
    session.commit()
    return RunsCreated(runs=read_runs(runs), renormalised=0)


def _check_baselines(recommendation: Recommendation, baselines: Sequence[str]) -> None:
    known = [name for name in recommendation.predictions if name != RECOMMENDED]
    for i, name in enumerate(baselines):
        if name not in known:
            raise InvalidRequest.of(f"baselines.{i}", f"there is no baseline {name!r} here", ", ".join(known))


def _mixtures(recommendation: Recommendation, arms: Sequence[str], train_tokens: int) -> dict[str, Mixture]:
    """What each arm trains: the weights that were predicted, and of a plan with several stages the stages."""
    mixtures = {arm: Mixture(recommendation.predictions[arm]["weights"], None, False) for arm in arms}
    if len(recommendation.stages) > 1:
        stages = scaled_stages(recommendation.stages, train_tokens)
        names = list(mixtures[RECOMMENDED].weights)
        mixtures[RECOMMENDED] = Mixture(named(mean_weights(stages, names), names), stages, False)
    return mixtures


def _check_comparable(alive: Sequence[Run], body: VerificationCreate) -> None:
    for i, seed in enumerate(body.seeds):
        if seed in body.seeds[:i]:
            raise InvalidRequest.of(f"seeds.{i}", f"seed {seed} is given twice", "different seeds")
    if any(run.batch_key != body.settings.batch_key for run in alive):
        message = "differs from the settings that this recommendation was verified with before"
        raise InvalidRequest.of("settings", message, "the same settings, so that the seeds can be compared")


def get_verification(session: Session, recommendation_id: UUID) -> VerificationRead:
    """Mean and standard error of the objective of each arm, and each baseline's contrast to the recommendation."""
    recommendation = find_recommendation(session, recommendation_id)
    fit = session.get_one(Fit, recommendation.fit_id)
    targets = targets_of_fit(find_study(session, recommendation.study_id), fit)
    runs = _runs(session, recommendation.id)
    by_arm: dict[str, list[Run]] = {}
    for run in runs:
        by_arm.setdefault(run.arm or "", []).append(run)
    measured = {arm: _objective_by_seed(arm_runs, targets) for arm, arm_runs in by_arm.items()}
    recommended = measured.get(RECOMMENDED, {})
    return VerificationRead(
        recommendation_id=recommendation.id,
        done=bool(runs) and all(run.state not in (RunState.QUEUED, RunState.LEASED) for run in runs),
        arms=[_arm(arm, arm_runs, measured[arm], recommendation) for arm, arm_runs in by_arm.items()],
        contrasts=[_contrast(arm, recommended, measured[arm]) for arm in by_arm if arm != RECOMMENDED],
        notes=about_verified_stages(recommendation.stages),
    )


def _runs(session: Session, recommendation_id: UUID) -> Sequence[Run]:
    return session.scalars(select(Run).where(Run.recommendation_id == recommendation_id).order_by(Run.id)).all()


def _objective_by_seed(runs: Sequence[Run], targets: Targets) -> dict[int, float]:
    """The measured objective of each seed that has it."""
    done = [run for run in runs if run.state is RunState.SUCCEEDED]
    values = objective_values(loss_matrix(targets, [run.losses or {} for run in done]), targets.weights)
    return {run.seed: value for run, value in zip(done, values.tolist(), strict=True) if math.isfinite(value)}


def _arm(name: str, runs: Sequence[Run], measured: dict[int, float], recommendation: Recommendation) -> ArmRead:
    mean, stderr = mean_and_stderr(np.array(list(measured.values()))) if measured else (None, None)
    predicted: dict[str, Any] | None = recommendation.predictions.get(name)
    return ArmRead(
        name=name,
        weights=runs[0].weights,
        stages=[Stage.model_validate(stage) for stage in runs[0].stages or ()],
        seeds_done=len(measured),
        seeds_asked=len({run.seed for run in runs if run.state is not RunState.CANCELLED}),
        mean=mean,
        stderr=None if len(measured) < 2 else stderr,
        predicted=Interval.model_validate(predicted["objective"]) if predicted else None,
    )


def _contrast(baseline: str, recommended: dict[int, float], other: dict[int, float]) -> ContrastRead:
    """Seeds are paired: with common random numbers their luck cancels in the difference."""
    seeds = sorted(recommended.keys() & other.keys())
    if len(seeds) < 2:
        return ContrastRead(baseline=baseline, difference=None, low=None, high=None, verdict="not enough runs")
    found = contrast(np.array([recommended[s] for s in seeds]), np.array([other[s] for s in seeds]))
    return ContrastRead.model_validate({"baseline": baseline, **asdict(found)})
