"""Bodies: what agents send and get."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from pydantic import Field

from app.schemas.common import Answer, Body, Name
from proxy_training.spec import ProxyResult, ProxySpec, TrajectoryPoint


class AgentCreate(Body):
    name: Name
    hostname: str = Field(default="", max_length=300)
    device: str = Field(default="", max_length=300)


class AgentRead(Answer):
    id: UUID
    name: str
    hostname: str
    device: str
    created_at: datetime
    last_seen_at: datetime


class ClaimCreate(Body):
    """Asks for up to ``max_runs`` runs that can be trained as one stack, on one of the corpora the agent holds."""

    agent_id: UUID
    max_runs: int = Field(ge=1, le=1024)
    corpus_hashes: list[str] = Field(min_length=1, max_length=1000)
    lease_seconds: float = Field(default=30, ge=1, le=3600)


class ClaimedRun(Answer):
    run_id: UUID
    attempt: int
    spec: ProxySpec


class ClaimRead(Answer):
    runs: list[ClaimedRun]
    lease_seconds: float


class HeldRun(Body):
    run_id: UUID
    attempt: int = Field(ge=1)
    progress_tokens: int = Field(default=0, ge=0, le=10**18)


class HeartbeatCreate(Body):
    runs: list[HeldRun] = Field(max_length=1024)
    lease_seconds: float = Field(default=30, ge=1, le=3600)


class HeartbeatRead(Answer):
    """``lost`` are the runs that the agent holds no more: stop them and report nothing."""

    lost: list[UUID]


class MeasurementCreate(Body):
    attempt: int = Field(ge=1)
    point: TrajectoryPoint


class CompletionCreate(Body):
    attempt: int = Field(ge=1)
    result: ProxyResult


class FailureCreate(Body):
    attempt: int = Field(ge=1)
    reason: str = Field(min_length=1, max_length=10_000)
    retry: bool = True


class ReleaseCreate(Body):
    attempt: int = Field(ge=1)
