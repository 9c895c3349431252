"""The processes that claim runs."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.errors import NotFound
from app.ids import new_id
from app.models import Agent
from app.schemas.agents import AgentCreate, AgentRead
from app.schemas.common import Page
from app.services.pages import page


def register_agent(session: Session, body: AgentCreate, now: datetime) -> AgentRead:
    """A process registers once, when it starts."""
    agent = Agent(id=new_id(now), **body.model_dump(), created_at=now, last_seen_at=now)
    session.add(agent)
    session.commit()
    return AgentRead.model_validate(agent)


def list_agents(session: Session, limit: int, cursor: str | None) -> Page[AgentRead]:
    """Agents, newest first."""
    return page(
        session,
        select(Agent),
        Agent.id,
        limit,
        cursor,
        lambda rows: [AgentRead.model_validate(row) for row in rows],
        newest_first=True,
    )


def seen_agent(session: Session, agent_id: UUID, now: datetime) -> Agent:
    """The agent, noted as alive. The caller commits.

    Raises:
        NotFound: it never registered here.
    """
    agent = session.get(Agent, agent_id)
    if agent is None:
        raise NotFound(f"there is no agent {agent_id}; register with POST /v1/agents first")
    agent.last_seen_at = now
    return agent
