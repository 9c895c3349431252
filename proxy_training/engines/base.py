"""The contract of an engine: where and how a batch of runs is trained."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from proxy_training.checkpoint import CheckpointPolicy
from proxy_training.spec import ModelSpec
from proxy_training.work import Assignment, Watcher


class Engine(ABC):
    """Trains batches of compatible runs (equal ``batch_key``) on tokenised corpora.

    Args:
        policy: where to keep unfinished stacks, so that a later process can go on with them; none are kept without.
    """

    name: ClassVar[str]
    summary: ClassVar[str]  # one line for help texts

    def __init__(self, policy: CheckpointPolicy | None = None) -> None:
        self._policy = policy

    @property
    @abstractmethod
    def device(self) -> str:
        """What the runs are trained on, for people to read."""

    @abstractmethod
    def preferred_stack(self, model: ModelSpec) -> int:
        """How many runs of this model to claim at once."""

    @abstractmethod
    def train(self, assignments: Sequence[Assignment], corpus_folder: Path, watcher: Watcher) -> None:
        """Train the batch and tell ``watcher`` of every step, measurement and outcome.

        Every run ends with one outcome, unless the watcher stops the engine or does not want the run any more.
        A run that cannot be trained as it was asked for ends with a :class:`~proxy_training.work.Failure` and leaves
        the others alone. Training a run twice gives the same result.

        Raises:
            CorpusError: the corpus cannot be read.
        """
