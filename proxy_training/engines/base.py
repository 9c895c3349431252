"""The contract of an engine: where and how batches of runs are trained."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from proxy_training.checkpoint import CheckpointPolicy
from proxy_training.errors import ProxyError
from proxy_training.spec import Processor, ProxySettings
from proxy_training.work import Assignment, Watcher


@dataclass(frozen=True)
class EngineOptions:
    """What the command line tells an engine. An engine refuses what it has no use for.

    Args:
        policy: where to keep unfinished stacks, so that a later process can go on with them; none are kept without.
        slots: batches that train at the same time; as many as the machine or cluster has room for when None.
        address: of a cluster.
        command: a trainer of the user's own, with ``{spec}`` in it.
        metrics_command: measures a trained model beside its losses, with ``{model}`` in it.
        keep_models: where to save every trained model.
    """

    policy: CheckpointPolicy | None = None
    slots: int | None = None
    address: str | None = None
    command: str | None = None
    metrics_command: str | None = None
    keep_models: Path | None = None


class Engine(ABC):
    """Trains batches of compatible runs (equal ``batch_key``) on tokenised corpora.

    Raises:
        ProxyError: the options are not for this engine, or its machine or cluster cannot be used.
    """

    name: ClassVar[str]
    summary: ClassVar[str]  # one line for help texts
    # Whether runs are for a corpus that this project built; a trainer of the user's own knows its data by name.
    reads_corpora: ClassVar[bool] = True

    def __init__(self, options: EngineOptions) -> None:
        self._options = options

    def _has_no_use_for(self, *names: str) -> None:
        """Refuse these options when they are given."""
        for name in names:
            if getattr(self._options, name) is not None:
                raise ProxyError(f"the engine {self.name!r} has no use for --{name.replace('_', '-')}")

    @property
    @abstractmethod
    def device(self) -> str:
        """What the runs are trained on, for people to read."""

    @property
    @abstractmethod
    def processor(self) -> Processor:
        """What the next batch will be trained on: its hours count as such. It may change with a cluster."""

    @property
    def slots(self) -> int:
        """How many batches train at the same time. It may change with a cluster."""
        return 1

    @abstractmethod
    def preferred_stack(self, settings: ProxySettings) -> int:
        """How many runs with these settings to claim at once."""

    @abstractmethod
    def train(self, assignments: Sequence[Assignment], corpus_folder: Path | None, watcher: Watcher) -> None:
        """Train the batch and tell ``watcher`` of every step, measurement and outcome.

        As many threads as there are slots may be in here at once, each with its own batch. Every run ends with one
        outcome, unless the watcher stops the engine or does not want the run any more. A run that cannot be trained
        as it was asked for ends with a :class:`~proxy_training.work.Failure` and leaves the others alone. Training a
        run twice gives the same result.

        Raises:
            CorpusError: the corpus cannot be read.
        """

    def close(self) -> None:  # noqa: B027  most engines hold nothing
        """Let go of processes and connections. Nothing trains any more."""
