"""Runs of a study that are alike: equal weights or stages, settings and seed would train the same model again.

Two callers who queue the same runs at once take turns at the row of the study, so that the second one sees what the
first has made.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from app.models import Run, Study
from app.schemas.runs import RunState, SkippedRun
from app.services.domain_versions import carried_names

# What is measured, will be, or was given up; runs that broke or were taken back may be queued anew.
KNOWN = (RunState.QUEUED, RunState.LEASED, RunState.SUCCEEDED, RunState.PRUNED)

# Fewer than SQLite allows as parameters of one statement.
_KEYS_AT_ONCE = 10_000


def content_key(run: Run) -> str | None:
    """Equal for runs that train the same; None for a run that no agent trains."""
    if run.batch_key is None:
        return None
    told = json.dumps([run.batch_key, run.seed, run.stages or run.weights], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:32]


def skip_known(session: Session, study: Study, runs: Sequence[Run]) -> tuple[list[Run], list[SkippedRun]]:
    """The new runs that are like none that the study has and none before them, and what is there of the others.

    Until the transaction ends nobody else queues runs of the study in this way.
    """
    session.execute(select(Study.id).where(Study.id == study.id).with_for_update(key_share=True))
    there = _there(session, study, [run.content_key for run in runs if run.content_key is not None])
    fresh: list[Run] = []
    skipped: list[SkippedRun] = []
    for index, run in enumerate(runs):
        twin = None if run.content_key is None else there.get(run.content_key)
        if twin is not None:
            skipped.append(SkippedRun(index=index, run_id=twin.id, state=twin.state))
            continue
        fresh.append(run)
        if run.content_key is not None:
            there[run.content_key] = run
    return fresh, skipped


def _there(session: Session, study: Study, keys: Sequence[str]) -> dict[str, Run | Row]:
    """The oldest run of each key. Those of a verification enter no fit and stand for none that does."""
    alike = select(Run.content_key, Run.id, Run.state).where(
        Run.study_id == study.id,
        Run.state.in_(KNOWN),
        Run.recommendation_id.is_(None),
        Run.domain_set_id.in_(list(carried_names(study, study.domain_set))),
    )
    found: dict[str, Run | Row] = {}
    for start in range(0, len(keys), _KEYS_AT_ONCE):
        part = alike.where(Run.content_key.in_(keys[start : start + _KEYS_AT_ONCE])).order_by(Run.id)
        for row in session.execute(part):
            found.setdefault(row.content_key, row)
    return found
