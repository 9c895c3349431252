"""Brings the swarm of a study up to a number of runs, by a design."""

from __future__ import annotations

from uuid import UUID

from pydantic import Field
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.errors import InvalidRequest
from app.models import Run
from app.schemas.common import Body
from app.schemas.runs import RunBatchCreate, RunCreate, RunState, SuggestionCreate
from app.services.runs import create_runs
from app.services.scheduled_work.base import Done, Finish, ScheduledWork, Task
from app.services.studies import find_study
from app.services.suggestions import suggest
from app.settings import Settings
from mixers.designs import DESIGNS
from proxy_training.spec import ProxySettings

# Runs that are, or will become, a data point. One that was pruned is replaced: by another mixture, for designs know it.
_COUNTED = (RunState.QUEUED, RunState.LEASED, RunState.SUCCEEDED)


class TopUp(Body):
    """The swarm is to hold ``runs`` runs of the present domain set that wait, are trained or have their losses."""

    runs: int = Field(ge=1, le=10_000)
    proxy: ProxySettings = Field(description="of the runs that are queued")
    design: str = "dirichlet"
    seed: int = Field(default=0, ge=0, lt=2**31, description="of the design")
    run_seed: int = Field(default=0, ge=0, lt=2**31, description="of the runs; equal seeds share their luck")
    purpose: str = Field(default="swarm", max_length=50)
    priority: int = Field(default=0, ge=-1000, le=1000)


class TopUpWork(ScheduledWork[TopUp]):
    """Queues what is missing; when nothing is, the firing says so."""

    kind = "top-up"
    wishes = TopUp

    def check(self, wishes: TopUp, settings: Settings) -> None:
        del settings
        if wishes.design not in DESIGNS:
            raise InvalidRequest.of("settings.design", f"there is no design {wishes.design!r}", ", ".join(DESIGNS))

    def step(self, task: Task[TopUp]) -> Finish:
        wishes = task.wishes
        with task.database.read() as session:
            there = _count(session, task.study_id, wishes.purpose)
            missing = wishes.runs - there
            # Another seed for another number of runs: a design must not propose the same mixtures again.
            asked = SuggestionCreate(count=max(missing, 1), design=wishes.design, seed=(wishes.seed + there) % 2**31)
            proposed = suggest(session, task.study_id, asked).suggestions if missing > 0 else []

        def finish(session: Session) -> Done:
            still = wishes.runs - _count(session, task.study_id, wishes.purpose)
            wanted = [
                RunCreate(
                    weights=one.weights,
                    settings=wishes.proxy,
                    seed=wishes.run_seed,
                    purpose=wishes.purpose,
                    priority=wishes.priority,
                )
                for one in proposed[: max(still, 0)]
            ]
            if not wanted:
                return Done({"runs_queued": 0}, message=f"the study has {wishes.runs} such runs already")
            body = RunBatchCreate(runs=wanted)
            made = create_runs(session, task.study_id, body, task.settings.run_max_attempts, task.now).runs
            if not made:
                return Done({"runs_queued": 0}, message="the study has a run of each mixture that the design suggests")
            return Done({"runs_queued": len(made), "first_run": str(made[0].id), "last_run": str(made[-1].id)})

        return finish


def _count(session: Session, study_id: UUID, purpose: str) -> int:
    domain_set = find_study(session, study_id).domain_set.id
    counted = select(func.count()).where(
        Run.study_id == study_id, Run.domain_set_id == domain_set, Run.purpose == purpose, Run.state.in_(_COUNTED)
    )
    return session.scalar(counted) or 0
