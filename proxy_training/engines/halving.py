"""A batch that does not fit the memory is halved until it does; the size that did is remembered for its settings."""

from __future__ import annotations

import gc
import logging
from collections import deque
from collections.abc import Callable, Collection, Sequence

import torch

from proxy_training.free_memory import free_bytes
from proxy_training.spec import ProxySettings, TrajectoryPoint
from proxy_training.stack_size import needed_bytes
from proxy_training.work import Assignment, Failure, Outcome, Watcher

# What the allocators of the CPU and of CUDA libraries say in a plain RuntimeError.
_SHORTAGES = ("can't allocate memory", "not enough memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
_SHOWN_CHARACTERS = 200
_GIB = 2**30

TrainStack = Callable[[Sequence[Assignment], Watcher], None]

log = logging.getLogger(__name__)


class StackHalving:
    """Knows for which settings memory was too small for a whole batch."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
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
            shortage = _shortage(train, part, seen) if part else None
            if shortage is None:
                continue
            self._free()
            rest = seen.open(part)
            if len(rest) > 1:
                waiting.extendleft(reversed(_parts(rest, self._halve(settings, len(rest), shortage))))
            elif rest:
                watcher.ended(rest[0].run_id, Failure(self._too_large(settings, shortage), retry=True))

    def _halve(self, settings: ProxySettings, size: int, shortage: str) -> int:
        half = -(-size // 2)
        self._largest[settings.batch_key] = half
        log.warning(
            "Memory is too small for %d runs at once (%s); from now on %d are trained at once", size, shortage, half,
            extra={"event": "stack_halved", "stack": half},
        )  # fmt: skip
        return half

    def _too_large(self, settings: ProxySettings, shortage: str) -> str:
        needed, free = needed_bytes(settings, self._device.type), free_bytes(self._device)
        return (
            f"a run with these settings does not fit the memory even alone: it needs about {needed / _GIB:.1f} GiB, "
            f"and {free / _GIB:.1f} GiB of {self._device.type} memory are free ({shortage})"
        )

    def _free(self) -> None:
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


def _shortage(train: TrainStack, part: Sequence[Assignment], watcher: Watcher) -> str | None:
    """Train; what the allocator said if memory was short. Returns, so that nothing holds the failed stack any more."""
    try:
        train(part, watcher)
    except (MemoryError, RuntimeError) as error:
        if not _is_shortage(error):
            raise
        said = str(error).splitlines() or [type(error).__name__]
        return said[0][:_SHOWN_CHARACTERS]
    return None


def _is_shortage(error: MemoryError | RuntimeError) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return any(words in str(error) for words in _SHORTAGES)


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
