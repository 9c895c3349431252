"""Bodies: what agents send and get."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import ClassVar
from uuid import UUID

from pydantic import Field

from app.schemas.common import Answer, Body
from app.schemas.names import NewName
from proxy_training.spec import Processor, ProxyResult, ProxySpec, TrajectoryPoint


class AgentCreate(Body):
    name: NewName
    hostname: str = Field(default="", max_length=300)
    device: str = Field(default="", max_length=300)


class AgentState(StrEnum):
    """What is known of a process that is somewhere else."""

    WORKING = "working"  # holds runs
    IDLE = "idle"  # asks for runs
    SILENT = "silent"  # holds none and has not been heard of for a minute


class AgentUpdate(Body):
    draining: bool = Field(description="whether it gets no new runs; those that it holds it may finish")


class AgentRead(Answer):
    VOLATILE: ClassVar[frozenset[str]] = frozenset({"state", "run_ids", "last_seen_at", "corpus_hashes"})

    id: UUID
    study_id: UUID | None = Field(description="the one study that its key is bound to, if any")
    name: str
    hostname: str
    device: str
    draining: bool
    corpus_hashes: list[str] = Field(description="the corpora that its last claim asked for runs of")
    state: AgentState
    run_ids: list[UUID] = Field(description="the runs that it holds")
    created_at: datetime
    last_seen_at: datetime


class ClaimCreate(Body):
    """Asks for up to ``max_runs`` runs that can be trained as one stack, on one of the corpora the agent holds."""

    agent_id: UUID
    max_runs: int = Field(ge=1, le=1024)
    corpus_hashes: list[str] = Field(min_length=1, max_length=1000)
    lease_seconds: float = Field(default=30, ge=1, le=3600)
    processor: Processor = Field(
        default="gpu", description="what they will be trained on; a budget of GPU-hours binds those on a gpu alone"
    )


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


class ReportedPoint(MeasurementCreate):
    run_id: UUID


class MeasurementBatchCreate(Body):
    points: list[ReportedPoint] = Field(min_length=1, max_length=1024)


class MeasurementBatchRead(Answer):
    """``lost`` are the runs that the agent holds no more, or that are not known here: stop them and report nothing.

    Their points came too late and were not stored, or these have pruned them now.
    """

    lost: list[UUID]


class CompletionCreate(Body):
    attempt: int = Field(ge=1)
    result: ProxyResult


class ReportedResult(CompletionCreate):
    run_id: UUID


class CompletionBatchCreate(Body):
    results: list[ReportedResult] = Field(min_length=1, max_length=1024)


class CompletionBatchRead(Answer):
    """``lost`` are the runs whose result came too late, or that are not known here; nothing of theirs was stored."""

    lost: list[UUID]


class FailureCreate(Body):
    attempt: int = Field(ge=1)
    reason: str = Field(min_length=1, max_length=10_000)
    retry: bool = True


class ReleaseCreate(Body):
    attempt: int = Field(ge=1)
