"""The words between an agent and the engines that train for it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from proxy_training.spec import ProxyResult, ProxySpec, TrajectoryPoint


@dataclass(frozen=True)
class Assignment:
    """A run to train. ``run_id`` is the service's name for it."""

    run_id: str
    spec: ProxySpec


@dataclass(frozen=True)
class Failure:
    """A run that gave no result. ``retry`` says whether another attempt may fare better."""

    reason: str
    retry: bool


Outcome = ProxyResult | Failure


class Watcher(Protocol):
    """Who sees an engine work, and may call it off. Engines call it from the thread that trains: be quick."""

    def stopping(self) -> bool:
        """Whether to stop everything at the next step; runs without an outcome are then given back."""
        ...

    def unwanted(self) -> Collection[str]:
        """Run ids whose results nobody wants any more; the engine drops them without an outcome."""
        ...

    def progressed(self, run_ids: Collection[str], train_tokens: int) -> None:
        """These runs have been trained on that many tokens each."""
        ...

    def measured(self, run_id: str, point: TrajectoryPoint) -> None:
        """A point of the trajectory."""
        ...

    def ended(self, run_id: str, outcome: Outcome) -> None:
        """A run is over; said once a run, as soon as it is known."""
        ...
