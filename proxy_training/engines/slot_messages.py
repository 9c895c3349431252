"""What an agent and the worker process of a slot say to each other, one JSON object a line.

agent  -> worker   WorkerSetup ( Batch Orders* )*      end of input: the agent is gone or has no more work
worker -> agent    Ready ( Message* BatchOver )*       and Logged at any time
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, TypeAdapter

from proxy_training.checkpoint import CheckpointPolicy, Checkpoints
from proxy_training.engines.base import EngineOptions
from proxy_training.engines.messages import AssignedRun, BatchOver, Ended, Orders, PointMeasured, Progressed
from proxy_training.spec import Record


class WorkerSetup(Record):
    """What all batches of a worker share."""

    kind: Literal["setup"] = "setup"
    checkpoint_folder: Path | None = None
    checkpoint_seconds: float = 0.0
    metrics_command: str | None = None
    keep_models: Path | None = None
    log_level: int

    @classmethod
    def of(cls, options: EngineOptions, log_level: int) -> WorkerSetup:
        policy = options.policy
        return cls(
            checkpoint_folder=policy.checkpoints.folder if policy else None,
            checkpoint_seconds=policy.every_seconds if policy else 0.0,
            metrics_command=options.metrics_command,
            keep_models=options.keep_models,
            log_level=log_level,
        )

    @property
    def options(self) -> EngineOptions:
        """Of the engine that trains inside the worker."""
        folder = self.checkpoint_folder
        policy = CheckpointPolicy(Checkpoints(folder), self.checkpoint_seconds) if folder else None
        return EngineOptions(policy=policy, metrics_command=self.metrics_command, keep_models=self.keep_models)


class Batch(Record):
    """Runs to train as one."""

    kind: Literal["batch"] = "batch"
    corpus_folder: Path
    runs: tuple[AssignedRun, ...]


class NewOrders(Record):
    """What the agent wants of the batch under way from now on."""

    kind: Literal["orders"] = "orders"
    orders: Orders


class Ready(Record):
    """The worker can take batches, on a device that has that much free memory."""

    kind: Literal["ready"] = "ready"
    device: str
    device_type: str
    free_bytes: int


class Logged(Record):
    """A line for the agent's log."""

    kind: Literal["logged"] = "logged"
    level: int
    message: str
    extra: dict[str, JsonValue] = Field(default={})


Instruction = WorkerSetup | Batch | NewOrders
INSTRUCTIONS: TypeAdapter[Instruction] = TypeAdapter(Annotated[Instruction, Field(discriminator="kind")])

# The messages of every trainer, and those of a worker.
Told = Progressed | PointMeasured | Ended | BatchOver | Ready | Logged
TOLD: TypeAdapter[Told] = TypeAdapter(Annotated[Told, Field(discriminator="kind")])


def line_of(record: Any) -> bytes:
    """The record as it travels."""
    return record.model_dump_json().encode() + b"\n"
