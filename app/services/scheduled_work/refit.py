"""Fits the laws to what is measured by now, recommends weights, and adopts them when that is wanted."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pydantic import Field, ValidationError
from sqlalchemy.orm import Session

from app.errors import InvalidRequest
from app.models import Fit, Recommendation
from app.schemas.common import Body
from app.schemas.fits import FitCreate
from app.schemas.mixture_choice import OFFERED, WantedMixture
from app.schemas.recommendations import RecommendationCreate
from app.services.fits import create_fit, find_fit, plan_fit, require_finished
from app.services.recommendations import (
    create_recommendation,
    find_recommendation,
    plan_recommendation,
    require_recommended,
)
from app.services.scheduled_work.base import Done, Finish, ScheduledWork, Task, wrong_settings
from app.services.weights import adopt
from app.settings import Settings
from mixers.laws import LAWS

_FIT, _RECOMMENDATION = "fit_id", "recommendation_id"
# Stands for the fit that a firing will make, where only the other fields are looked at.
_SOME_FIT = UUID(int=0)


class Refit(Body):
    """``fit`` and ``recommendation`` are the bodies of their own calls, the latter without ``fit_id``."""

    fit: FitCreate = FitCreate()
    recommend: bool = True
    recommendation: dict[str, Any] = Field(default={}, description="law, objective, constraints, seed ...")
    adopt: bool = Field(default=False, description="let training pipelines read the new weights at once")
    adopt_mixture: WantedMixture = OFFERED


class RefitWork(ScheduledWork[Refit]):
    """Three steps: the fit, its recommendation, the adoption. Between them no worker is held."""

    kind = "refit"
    wishes = Refit

    def check(self, wishes: Refit, settings: Settings) -> None:
        del settings
        for law in wishes.fit.laws or ():
            if law not in LAWS:
                raise InvalidRequest.of("settings.fit.laws", f"there is no law {law!r}", ", ".join(LAWS))
        if wishes.adopt and not wishes.recommend:
            raise InvalidRequest.of("settings.adopt", "there is nothing to adopt without 'recommend'", "false")
        _recommendation(wishes, _SOME_FIT)

    def step(self, task: Task[Refit]) -> Finish:
        if _FIT not in task.outcome:
            with task.database.read() as reading:
                planned = plan_fit(reading, task.study_id, task.wishes.fit)
            return lambda session: _start_fit(session, task, planned)
        fit_id = UUID(task.outcome[_FIT])
        if _RECOMMENDATION not in task.outcome:
            with task.database.read() as reading:
                wanted = _planned(reading, task, fit_id)
            return lambda session: _start_recommendation(session, task, wanted)
        return lambda session: _end(session, task, UUID(task.outcome[_RECOMMENDATION]))


def _start_fit(session: Session, task: Task[Refit], planned: Fit) -> Done:
    made = create_fit(session, planned, task.settings.job_max_attempts, task.now)
    return Done({_FIT: str(made.id)}, waits_for=session.get_one(Fit, made.id).job_id)


def _planned(session: Session, task: Task[Refit], fit_id: UUID) -> Recommendation | Done:
    """The recommendation to make of the finished fit; what is said of it when none is wanted."""
    fit = find_fit(session, fit_id)
    require_finished(fit)
    if not task.wishes.recommend:
        return Done(message=f"the fit chose {fit.chosen_law}")
    return plan_recommendation(session, task.study_id, _recommendation(task.wishes, fit_id))


def _start_recommendation(session: Session, task: Task[Refit], wanted: Recommendation | Done) -> Done:
    if isinstance(wanted, Done):
        return wanted
    made = create_recommendation(session, wanted, task.settings.job_max_attempts, task.now)
    return Done({_RECOMMENDATION: str(made.id)}, waits_for=session.get_one(Recommendation, made.id).job_id)


def _end(session: Session, task: Task[Refit], recommendation_id: UUID) -> Done:
    require_recommended(find_recommendation(session, recommendation_id))
    if task.wishes.adopt:
        adopted = adopt(session, recommendation_id, task.wishes.adopt_mixture, task.now)
        said = f"adopted the {adopted.mixture.replace('_', ' ')} mixture: {adopted.reason}"
        return Done({"adopted": True, "mixture": adopted.mixture}, message=said)
    return Done({"adopted": False})


def _recommendation(wishes: Refit, fit_id: UUID) -> RecommendationCreate:
    if "fit_id" in wishes.recommendation:
        raise InvalidRequest.of("settings.recommendation.fit_id", "the schedule makes the fit itself", "leave it out")
    try:
        return RecommendationCreate.model_validate(wishes.recommendation | {"fit_id": fit_id})
    except ValidationError as exc:
        raise wrong_settings(exc, "settings.recommendation") from exc
