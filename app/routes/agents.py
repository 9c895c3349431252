"""What agents call: register, claim, heartbeat, report."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter

from app.routes.dependencies import AGENT, READ, Cursor, InDatabase, Limit, Now, problems
from app.schemas.agents import (
    AgentCreate,
    AgentRead,
    ClaimCreate,
    ClaimRead,
    CompletionCreate,
    FailureCreate,
    HeartbeatCreate,
    HeartbeatRead,
    MeasurementCreate,
    ReleaseCreate,
)
from app.schemas.common import Page
from app.services import agents, queue

router = APIRouter(tags=["agents"])


@router.post("/agents", dependencies=AGENT, status_code=201, responses=problems())
def register_agent(body: AgentCreate, database: InDatabase, now: Now) -> AgentRead:
    """Register a process that will claim runs."""
    with database.write() as session:
        return agents.register_agent(session, body, now)


@router.get("/agents", dependencies=READ, responses=problems())
def list_agents(database: InDatabase, limit: Limit = 100, cursor: Cursor = None) -> Page[AgentRead]:
    """List agents, newest first."""
    with database.read() as session:
        return agents.list_agents(session, limit, cursor)


@router.post("/agents/{agent_id}/heartbeat", dependencies=AGENT, responses=problems(404))
def heartbeat(agent_id: UUID, body: HeartbeatCreate, database: InDatabase, now: Now) -> HeartbeatRead:
    """Extend the leases of the runs that the agent trains; the answer names those that it lost."""
    with database.write() as session:
        return queue.heartbeat(session, agent_id, body, now)


@router.post("/runs/claim", dependencies=AGENT, responses=problems(404))
def claim(body: ClaimCreate, database: InDatabase, now: Now) -> ClaimRead:
    """Lease a batch of runs that can be trained as one stack; empty when nothing waits."""
    with database.write() as session:
        return queue.claim(session, body, now)


@router.post("/runs/{run_id}/measurements", dependencies=AGENT, status_code=204, responses=problems(404, 409))
def measure(run_id: UUID, body: MeasurementCreate, database: InDatabase) -> None:
    """Report a point of the trajectory."""
    with database.write() as session:
        queue.measure(session, run_id, body)


@router.post("/runs/{run_id}/complete", dependencies=AGENT, status_code=204, responses=problems(404, 409))
def complete(run_id: UUID, body: CompletionCreate, database: InDatabase, now: Now) -> None:
    """Report the result. Reporting it again with the same attempt changes nothing."""
    with database.write() as session:
        queue.complete(session, run_id, body, now)


@router.post("/runs/{run_id}/fail", dependencies=AGENT, status_code=204, responses=problems(404, 409))
def fail(run_id: UUID, body: FailureCreate, database: InDatabase, now: Now) -> None:
    """Report that the attempt broke."""
    with database.write() as session:
        queue.fail(session, run_id, body, now)


@router.post("/runs/{run_id}/release", dependencies=AGENT, status_code=204, responses=problems(404, 409))
def release(run_id: UUID, body: ReleaseCreate, database: InDatabase) -> None:
    """Give the run back; the attempt does not count."""
    with database.write() as session:
        queue.release(session, run_id, body)
