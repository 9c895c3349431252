"""Trains in processes of this machine: one worker a slot, each with a GPU or a core of its own."""

from __future__ import annotations

import logging
import queue
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from proxy_training.child_environment import child_environment
from proxy_training.devices import GPU_VARIABLE, processor_of, usable_cores, visible_gpus
from proxy_training.engines.base import Engine, EngineOptions
from proxy_training.engines.halving import StackHalving
from proxy_training.engines.slot_messages import WorkerSetup
from proxy_training.engines.slot_process import Slot
from proxy_training.spec import Processor, ProxySettings
from proxy_training.stack_size import fastest_stack, fitting_stack
from proxy_training.work import Assignment, Watcher


class SubprocessEngine(Engine):
    """Workers are started when their first batch comes, and kept: importing torch takes seconds.

    Slots are dealt over the GPUs, and several may share one. On a machine without a GPU every worker trains on the
    CPU with one thread.
    """

    name: ClassVar[str] = "subprocess"
    summary: ClassVar[str] = "trains in processes of this machine, several batches at a time"

    def __init__(self, options: EngineOptions) -> None:
        super().__init__(options)
        self._has_no_use_for("address", "command")
        gpus = visible_gpus()
        count = options.slots or len(gpus) or usable_cores()
        setup = WorkerSetup.of(options, logging.getLogger().getEffectiveLevel())
        self._slots = [
            Slot(number + 1, setup, _environment(gpus[number % len(gpus)] if gpus else None)) for number in range(count)
        ]
        # A worker that the kernel kills when memory runs out cannot remember how large its stack was.
        self._halving = StackHalving()
        # The last one that trained is taken again: no more workers are started than batches come at a time.
        self._idle: queue.LifoQueue[Slot] = queue.LifoQueue()
        for slot in reversed(self._slots):
            self._idle.put(slot)
        # One worker at once: it knows the device, and whether there is any, before runs are claimed for it.
        self._ready = self._slots[0].start().ready
        sharing = -(-count // len(gpus)) if gpus else count
        self._free_bytes = self._ready.free_bytes // sharing
        self._where = f"{len(gpus)} x {self._ready.device}" if len(gpus) > 1 else self._ready.device

    @property
    def device(self) -> str:
        return self._where

    @property
    def processor(self) -> Processor:
        return processor_of(self._ready.device_type)

    @property
    def slots(self) -> int:
        return len(self._slots)

    def preferred_stack(self, settings: ProxySettings) -> int:
        kind = self._ready.device_type
        stack = min(fastest_stack(settings, kind), fitting_stack(settings, kind, self._free_bytes))
        return self._halving.largest(settings, stack)

    def train(self, assignments: Sequence[Assignment], corpus_folder: Path | None, watcher: Watcher) -> None:
        assert corpus_folder is not None
        slot = self._idle.get()
        try:
            self._halving.train(assignments, watcher, lambda part, watcher: slot.train(part, corpus_folder, watcher))
        finally:
            self._idle.put(slot)

    def close(self) -> None:
        for slot in self._slots:  # all of them at once
            slot.ask_to_end()
        for slot in self._slots:
            slot.end()


def _environment(gpu: str | None) -> dict[str, str]:
    return child_environment(OMP_NUM_THREADS="1") if gpu is None else child_environment(**{GPU_VARIABLE: gpu})
