"""Trains in the calling thread: one stack after the other, on this machine's CPU or GPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import torch

from proxy_training.corpus_read import Corpus
from proxy_training.devices import device_name, processor_of, training_device
from proxy_training.engines.base import Engine, EngineOptions
from proxy_training.engines.halving import Shortage, StackHalving
from proxy_training.engines.shortage import shortage_in
from proxy_training.errors import ProxyError, SpecError
from proxy_training.evaluate import ValidationSet
from proxy_training.point_hooks import PointHook, hook_of
from proxy_training.sampler import SequenceSampler
from proxy_training.spec import Processor, ProxySettings
from proxy_training.stack_size import preferred_stack
from proxy_training.stacked_run import StackedRun
from proxy_training.work import Assignment, Failure, Watcher


class InProcessEngine(Engine):
    """One process, one thread of torch: several agents on one machine share its cores without disturbing each other.

    Args:
        device: the GPU when there is one, else the CPU.
    """

    name: ClassVar[str] = "in_process"
    summary: ClassVar[str] = "trains in the agent's own process"

    def __init__(self, options: EngineOptions, device: torch.device | None = None) -> None:
        super().__init__(options)
        self._has_no_use_for("address", "command")
        if options.slots not in (None, 1):
            raise ProxyError(f"the engine {self.name!r} trains one batch at a time, not {options.slots}")
        self._device = device or training_device()
        self._halving = StackHalving()
        self._hook = hook_of(options.metrics_command, options.keep_models)
        self._corpora: dict[Path, Corpus] = {}
        self._validations: dict[tuple[Path, int, int], ValidationSet] = {}

    @property
    def device(self) -> str:
        return device_name(self._device)

    @property
    def processor(self) -> Processor:
        return processor_of(self._device.type)

    def preferred_stack(self, settings: ProxySettings) -> int:
        return self._halving.largest(settings, preferred_stack(settings, self._device))

    def train(self, assignments: Sequence[Assignment], corpus_folder: Path | None, watcher: Watcher) -> None:
        assert corpus_folder is not None
        torch.set_num_threads(1)  # two threads on a loaded machine are several times slower than one
        corpus = self._open(corpus_folder)
        fitting = [assignment for assignment in assignments if _fits(assignment, corpus, self._hook, watcher)]
        if not fitting:
            return
        settings = fitting[0].spec.settings
        validation = self._validation(corpus_folder, settings.model.context, settings.eval_sequences)

        def train(part: Sequence[Assignment], watcher: Watcher) -> Shortage | None:
            def train_stack() -> None:
                StackedRun(part, corpus, validation, watcher, self._device, self._options.policy, self._hook).run()

            return shortage_in(train_stack, settings, self._device)

        self._halving.train(fitting, watcher, train)

    def _open(self, folder: Path) -> Corpus:
        if folder not in self._corpora:
            self._corpora[folder] = Corpus.open(folder)
        return self._corpora[folder]

    def _validation(self, folder: Path, context: int, max_windows: int) -> ValidationSet:
        """Batch after batch looks at the same windows: they are cut once, and only those of the last batch are kept."""
        key = (folder, context, max_windows)
        if key not in self._validations:
            self._validations = {key: ValidationSet.of(self._open(folder), context, max_windows)}
        return self._validations[key]


def _fits(assignment: Assignment, corpus: Corpus, hook: PointHook | None, watcher: Watcher) -> bool:
    try:
        if hook is not None:
            hook.check(assignment.spec.settings.model)
        SequenceSampler(corpus, assignment.spec)
    except SpecError as error:
        watcher.ended(assignment.run_id, Failure(str(error), retry=False))
        return False
    return True
