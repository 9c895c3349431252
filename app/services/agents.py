"""The processes that claim runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session

from app.errors import NotFound
from app.etags import Precondition
from app.ids import new_id
from app.models import Agent, Run
from app.schemas.agents import AgentCreate, AgentRead, AgentState, AgentUpdate
from app.schemas.common import Page
from app.schemas.runs import RunState
from app.services.access import caller, visible
from app.services.events import record
from app.services.pages import page

# Longer than an agent waits between two calls, whether it works, has nothing to do or cannot reach the service.
_SILENT_AFTER = timedelta(minutes=1)

_PLAIN = {"synchronize_session": False}
_SEEN = (
    update(Agent)
    .where(Agent.id == bindparam("agent_id"))
    .values(last_seen_at=bindparam("now"))
    .returning(Agent.id, Agent.draining, Agent.study_id, Agent.corpus_hashes)
)


@dataclass(frozen=True)
class SeenAgent:
    """An agent that makes a call. ``study_id`` is the one study that it may work for, or None for all."""

    id: UUID
    draining: bool
    study_id: UUID | None
    corpus_hashes: Sequence[str]


def register_agent(session: Session, body: AgentCreate, now: datetime) -> AgentRead:
    """A process registers once, when it starts. That of a key bound to a study works for that study only."""
    study_id = caller(session).study_id
    agent = Agent(
        id=new_id(now),
        study_id=study_id,
        draining=False,
        corpus_hashes=[],
        created_at=now,
        last_seen_at=now,
        **body.model_dump(),
    )
    session.add(agent)
    data = {"name": agent.name}
    record(session, "agent.registered", now, study_id=study_id, subject_id=agent.id, data=data)
    session.commit()
    return _read(session, [agent], now)[0]


def list_agents(session: Session, limit: int, cursor: str | None, now: datetime) -> Page[AgentRead]:
    """Agents, newest first."""
    rows = visible(session, select(Agent), Agent.study_id)
    return page(session, rows, Agent.id, limit, cursor, lambda agents: _read(session, agents, now), newest_first=True)


def get_agent(session: Session, agent_id: UUID, now: datetime) -> AgentRead:
    """One agent.

    Raises:
        NotFound: no agent has this identifier.
    """
    return _read(session, [_find(session, agent_id)], now)[0]


def update_agent(
    session: Session, agent_id: UUID, body: AgentUpdate, expected: Precondition, now: datetime
) -> AgentRead:
    """Let an agent finish what it holds and give it nothing new, or give it runs again.

    Raises:
        NotFound: no agent has this identifier.
        PreconditionFailed: it was changed since it was read.
    """
    agent = _find(session, agent_id, for_update=True)
    expected.require(_read(session, [agent], now)[0])
    agent.draining = body.draining
    data = {"draining": body.draining}
    record(session, "agent.changed", now, study_id=agent.study_id, subject_id=agent.id, data=data)
    session.commit()
    return _read(session, [agent], now)[0]


def seen_agent(session: Session, agent_id: UUID, now: datetime) -> SeenAgent:
    """The agent, noted as alive. The caller commits.

    Raises:
        NotFound: it never registered here.
    """
    bound = caller(session).study_id
    row = session.connection().execute(_SEEN, {"agent_id": agent_id, "now": now}).one_or_none()
    if row is None or bound not in (None, row.study_id):
        raise NotFound(f"there is no agent {agent_id}; register with POST /v1/agents first")
    return SeenAgent(row.id, row.draining, row.study_id, row.corpus_hashes)


def announce(session: Session, agent: SeenAgent, corpus_hashes: Sequence[str]) -> None:
    """Note the corpora that an agent asks for runs of. The caller commits."""
    named = sorted(set(corpus_hashes))
    if named != agent.corpus_hashes:  # they hardly ever change, and claims are many
        session.execute(update(Agent).where(Agent.id == agent.id).values(corpus_hashes=named), execution_options=_PLAIN)


def takers(session: Session, now: datetime) -> list[SeenAgent]:
    """The agents that are alive and take new runs, whosoever they are: not silent, and not draining."""
    at_work = select(Run.agent_id).where(Run.state == RunState.LEASED)
    alive = (Agent.last_seen_at >= now - _SILENT_AFTER) | Agent.id.in_(at_work)
    columns = select(Agent.id, Agent.draining, Agent.study_id, Agent.corpus_hashes)
    return [SeenAgent(*row) for row in session.execute(columns.where(alive, Agent.draining.is_(False)))]


def _find(session: Session, agent_id: UUID, for_update: bool = False) -> Agent:
    rows = visible(session, select(Agent), Agent.study_id).where(Agent.id == agent_id)
    agent = session.scalar(rows.with_for_update(key_share=True) if for_update else rows)
    if agent is None:
        raise NotFound(f"there is no agent {agent_id}")
    return agent


def _read(session: Session, agents: Sequence[Agent], now: datetime) -> list[AgentRead]:
    rows = visible(session, select(Run.agent_id, Run.id), Run.study_id).where(
        Run.agent_id.in_([agent.id for agent in agents]), Run.state == RunState.LEASED
    )
    held: dict[UUID, list[UUID]] = {agent.id: [] for agent in agents}
    for agent_id, run_id in session.execute(rows.order_by(Run.id)):
        held[agent_id].append(run_id)
    return [_shown(agent, held[agent.id], now) for agent in agents]


def _shown(agent: Agent, run_ids: list[UUID], now: datetime) -> AgentRead:
    silent = now - agent.last_seen_at > _SILENT_AFTER
    state = AgentState.WORKING if run_ids else AgentState.SILENT if silent else AgentState.IDLE
    return AgentRead(
        id=agent.id,
        study_id=agent.study_id,
        name=agent.name,
        hostname=agent.hostname,
        device=agent.device,
        draining=agent.draining,
        corpus_hashes=agent.corpus_hashes,
        state=state,
        run_ids=run_ids,
        created_at=agent.created_at,
        last_seen_at=agent.last_seen_at,
    )
