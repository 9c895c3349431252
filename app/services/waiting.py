"""Queued runs that no agent would take: their corpus is one that nobody alive has."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.models import Run
from app.schemas.runs import RunState
from app.schemas.studies import RunsWithoutAgent
from app.services.agents import takers


def runs_without_agent(session: Session, studies: Sequence[UUID], now: datetime) -> dict[UUID, list[RunsWithoutAgent]]:
    """By study, the most runs first. An agent takes every run of the corpora that it names, of any size, so that the
    corpus is all that a run can wait for in vain, but for its study's budget."""
    counted = (
        select(Run.study_id, Run.corpus_hash, func.count().label("runs"))
        .where(Run.study_id.in_(studies), Run.state == RunState.QUEUED)
        .group_by(Run.study_id, Run.corpus_hash)
    )
    waiting = session.execute(counted.order_by(func.count().desc(), Run.corpus_hash)).all()
    if not waiting:
        return {}
    offered = {(agent.study_id, name) for agent in takers(session, now) for name in agent.corpus_hashes}
    found: dict[UUID, list[RunsWithoutAgent]] = {}
    for study_id, corpus_hash, runs in waiting:
        if corpus_hash is not None and not {(None, corpus_hash), (study_id, corpus_hash)} & offered:
            found.setdefault(study_id, []).append(RunsWithoutAgent(corpus_hash=corpus_hash, runs=runs))
    return found
