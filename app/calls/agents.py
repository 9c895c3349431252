"""Calls: what agents call, and what is known of agents."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from app.calls.pages import walked
from app.calls.transport import Transport
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


class AgentCalls(Transport):
    """The calls of this resource; one method a route."""

    def register_agent(self, body: AgentCreate) -> AgentRead:
        return self._post("/v1/agents", body, AgentRead)

    def list_agents(self, limit: int = 100, cursor: str | None = None) -> Page[AgentRead]:
        return self._get("/v1/agents", Page[AgentRead], limit=limit, cursor=cursor)

    def all_agents(self) -> Iterator[AgentRead]:
        """Every agent, page by page."""
        return walked(lambda cursor: self.list_agents(1000, cursor))

    def get_agent(self, agent_id: UUID) -> AgentRead:
        return self._get(f"/v1/agents/{agent_id}", AgentRead)

    def change_agent(self, agent_id: UUID, body: AgentUpdate, etag: str | None = None) -> AgentRead:
        """Change the version ``etag``, or the present one."""
        return self._change(f"/v1/agents/{agent_id}", body, AgentRead, etag)

    def claim(self, body: ClaimCreate) -> ClaimRead:
        return self._post("/v1/runs/claim", body, ClaimRead)

    def heartbeat(self, agent_id: UUID, body: HeartbeatCreate) -> HeartbeatRead:
        return self._post(f"/v1/agents/{agent_id}/heartbeat", body, HeartbeatRead)

    def measure(self, run_id: UUID, body: MeasurementCreate) -> None:
        self._send(f"/v1/runs/{run_id}/measurements", body)

    def measure_many(self, body: MeasurementBatchCreate) -> MeasurementBatchRead:
        """Report points of a stack at once; the answer names the runs that are lost, and those pruned by them."""
        return self._post("/v1/runs/measurements", body, MeasurementBatchRead)

    def complete(self, run_id: UUID, body: CompletionCreate) -> None:
        self._send(f"/v1/runs/{run_id}/complete", body)

    def complete_many(self, body: CompletionBatchCreate) -> CompletionBatchRead:
        """Report the results of a stack at once; the answer names those that came too late."""
        return self._post("/v1/runs/complete", body, CompletionBatchRead)

    def fail(self, run_id: UUID, body: FailureCreate) -> None:
        self._send(f"/v1/runs/{run_id}/fail", body)

    def release(self, run_id: UUID, body: ReleaseCreate) -> None:
        self._send(f"/v1/runs/{run_id}/release", body)
