"""A batch that does not fit the memory is halved until it does; the size that did is remembered for its settings."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from proxy_training.spec import ProxySettings, TrajectoryPoint
from proxy_training.work import Assignment, Failure, Outcome, Watcher

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shortage:
    """Memory was too small for a stack.

    Args:
        said: by whom it was noticed.
        why_failed: what to say of a run that was alone in its stack.
    """

    said: str
    why_failed: str


# Ends with a shortage when runs of the batch have no outcome for want of memory; nothing of the stack is then left.
TrainStack = Callable[[Sequence[Assignment], Watcher], Shortage | None]


class StackHalving:
    """Knows, for as long as it lives, for which settings memory was too small for a whole batch.

    Settings tell model size, precision and sequence length. Several threads may train by it.
    """

    def __init__(self) -> None:
        self._largest: dict[str, int] = {}

    def largest(self, settings: ProxySettings, otherwise: int) -> int:
        """The largest stack of these settings that is still to be tried."""
        return min(otherwise, self._largest.get(settings.batch_key, otherwise))

    def train(self, assignments: Sequence[Assignment], watcher: Watcher, train: TrainStack) -> None:
        """Call ``train`` for the batch, or for parts of it one after the other where memory is short.

        What was trained before the shortage is trained again, from a checkpoint where there is one. A run that does
        not fit alone has failed; it may be tried again, for another agent's machine may have more, and this one's
        memory may be taken by others only now.
        """
        settings = assignments[0].spec.settings
        seen = _OutcomeWatcher(watcher)
        waiting = deque(_parts(assignments, self.largest(settings, len(assignments))))
        while waiting and not watcher.stopping():
            part = seen.open(waiting.popleft())
            shortage = train(part, seen) if part else None
            if shortage is None or watcher.stopping():
                continue
            rest = seen.open(part)
            if len(rest) > 1:
                waiting.extendleft(reversed(_parts(rest, self._halve(settings, len(rest), shortage.said))))
            elif rest:
                watcher.ended(rest[0].run_id, Failure(shortage.why_failed, retry=True))

    def _halve(self, settings: ProxySettings, size: int, said: str) -> int:
        half = self._largest[settings.batch_key] = self.largest(settings, -(-size // 2))
        log.warning(
            "Memory is too small for %d runs at once (%s); from now on %d are trained at once", size, said, half,
            extra={"event": "stack_halved", "stack": half},
        )  # fmt: skip
        return half


def _parts(assignments: Sequence[Assignment], size: int) -> list[Sequence[Assignment]]:
    return [assignments[first : first + size] for first in range(0, len(assignments), size)]


class _OutcomeWatcher:
    """Passes everything on and remembers which runs are over."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._ended: set[str] = set()

    def open(self, assignments: Sequence[Assignment]) -> list[Assignment]:
        """Those that somebody still waits for."""
        over = self._ended | set(self._watcher.unwanted())
        return [assignment for assignment in assignments if assignment.run_id not in over]

    def stopping(self) -> bool:
        return self._watcher.stopping()

    def unwanted(self) -> Collection[str]:
        return self._watcher.unwanted()

    def progressed(self, run_ids: Collection[str], train_tokens: int) -> None:
        self._watcher.progressed(run_ids, train_tokens)

    def measured(self, run_id: str, point: TrajectoryPoint) -> None:
        self._watcher.measured(run_id, point)

    def ended(self, run_id: str, outcome: Outcome) -> None:
        self._ended.add(run_id)
        self._watcher.ended(run_id, outcome)
