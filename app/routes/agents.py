"""What agents call: register, claim, heartbeat, report."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Response

from app.etags import etag_of
from app.routes.dependencies import AGENT, READ, WRITE, Cursor, IfMatch, InDatabase, Limit, Now, Tagged, problems
from app.schemas.agents import (
    AgentCreate,
    AgentRead,
    AgentUpdate,
    ClaimCreate,
    ClaimRead,
    CompletionBatchCreate,
    CompletionBatchRead,
    CompletionCreate,
    FailureCreate,
    HeartbeatCreate,
    HeartbeatRead,
    MeasurementBatchCreate,
    MeasurementBatchRead,
    MeasurementCreate,
    ReleaseCreate,
)
from app.schemas.common import Page
from app.services import agents, measurements, queue, reports

router = APIRouter(tags=["agents"])


@router.post("/agents", dependencies=AGENT, status_code=201, responses=problems())
def register_agent(body: AgentCreate, database: InDatabase, now: Now) -> AgentRead:
    """Register a process that will claim runs."""
    with database.write() as session:
        return agents.register_agent(session, body, now)


@router.get("/agents", dependencies=READ, responses=problems())
def list_agents(database: InDatabase, now: Now, limit: Limit = 100, cursor: Cursor = None) -> Page[AgentRead]:
    """List agents, newest first."""
    with database.read() as session:
        return agents.list_agents(session, limit, cursor, now)


@router.get("/agents/{agent_id}", dependencies=READ, responses=problems(404))
def get_agent(agent_id: UUID, database: InDatabase, now: Now, tag: Tagged) -> AgentRead:
    """Read an agent and what it holds."""
    with database.read() as session:
        return tag(agents.get_agent(session, agent_id, now))


@router.patch("/agents/{agent_id}", dependencies=WRITE, responses=problems(404, 412, 428))
def update_agent(
    agent_id: UUID, body: AgentUpdate, expected: IfMatch, database: InDatabase, now: Now, response: Response
) -> AgentRead:
    """Let an agent drain, or give it runs again."""
    with database.write() as session:
        changed = agents.update_agent(session, agent_id, body, expected, now)
    response.headers["ETag"] = etag_of(changed)
    return changed


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


@router.post("/runs/measurements", dependencies=AGENT, responses=problems())
def measure_many(body: MeasurementBatchCreate, database: InDatabase, now: Now) -> MeasurementBatchRead:
    """Report points of a stack at once; the answer names the runs that are lost, and those that are pruned by them."""
    with database.write() as session:
        return measurements.measure_many(session, body, now)


@router.post("/runs/{run_id}/measurements", dependencies=AGENT, status_code=204, responses=problems(404, 409))
def measure(run_id: UUID, body: MeasurementCreate, database: InDatabase, now: Now) -> None:
    """Report a point of the trajectory. Where the run's settings say so, a hopeless run is pruned by it."""
    with database.write() as session:
        measurements.measure(session, run_id, body, now)


@router.post("/runs/complete", dependencies=AGENT, responses=problems())
def complete_many(body: CompletionBatchCreate, database: InDatabase, now: Now) -> CompletionBatchRead:
    """Report the results of a stack at once; the answer names those that came too late."""
    with database.write() as session:
        return reports.complete_many(session, body, now)


@router.post("/runs/{run_id}/complete", dependencies=AGENT, status_code=204, responses=problems(404, 409))
def complete(run_id: UUID, body: CompletionCreate, database: InDatabase, now: Now) -> None:
    """Report the result. Reporting it again with the same attempt changes nothing."""
    with database.write() as session:
        reports.complete(session, run_id, body, now)


@router.post("/runs/{run_id}/fail", dependencies=AGENT, status_code=204, responses=problems(404, 409))
def fail(run_id: UUID, body: FailureCreate, database: InDatabase, now: Now) -> None:
    """Report that the attempt broke."""
    with database.write() as session:
        reports.fail(session, run_id, body, now)


@router.post("/runs/{run_id}/release", dependencies=AGENT, status_code=204, responses=problems(404, 409))
def release(run_id: UUID, body: ReleaseCreate, database: InDatabase, now: Now) -> None:
    """Give the run back; the attempt does not count."""
    with database.write() as session:
        reports.release(session, run_id, body, now)
