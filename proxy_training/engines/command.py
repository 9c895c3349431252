"""Starts a trainer of the user's own: one process a run, told by a file, answering in lines.

    mixwright agent --command "python my_train.py --config {spec}" --corpus-name web-2026

The file ``{spec}`` is a :class:`RunFile`; what the process prints is described in ``trainer_lines.py``. Its exit code
says what a run without a result is worth: 2, 64, 65 and 78 (wrong usage, data or configuration, sysexits.h) would come
again with any attempt, every other may not.
"""

from __future__ import annotations

import queue
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

from proxy_training.child_environment import child_environment
from proxy_training.command_process import GRACE_SECONDS, CommandProcess, End
from proxy_training.command_template import CommandTemplate
from proxy_training.devices import GPU_VARIABLE, device_name, processor_of, training_device, visible_gpus
from proxy_training.engines.base import Engine, EngineOptions
from proxy_training.engines.trainer_dialogue import TrainerDialogue
from proxy_training.engines.trainer_lines import TrainerLines
from proxy_training.errors import ProxyError
from proxy_training.run_scratch import FolderInUse, RunScratch
from proxy_training.spec import Processor, ProxyResult, ProxySettings, ProxySpec, Record
from proxy_training.whole_files import write_whole
from proxy_training.work import Assignment, Failure, Watcher

PLACEHOLDERS = {
    "spec": "the JSON file that describes the run",
    "corpus": "the corpus folder, empty without one",
    "out": "a folder that the run keeps until it has succeeded",
    "run_id": "the service's name of the run",
}
# An earlier trainer of the same run has at most its grace period left.
_PATIENCE_SECONDS = GRACE_SECONDS + 15.0


class RunFile(Record):
    """What the file ``{spec}`` holds.

    ``draw_seed`` is the seed of initial weights and of the order of the text. ``corpus`` is the folder of the corpus
    with hash ``spec.settings.corpus_hash``; null when the agent knows that data by name alone.
    """

    format: Literal["mixwright-run-1"] = "mixwright-run-1"
    run_id: str
    spec: ProxySpec
    draw_seed: int
    corpus: str | None
    out: str


class CommandEngine(Engine):
    """One run a slot. Each of several slots sees one GPU of the machine; a single one sees all of them."""

    name: ClassVar[str] = "command"
    summary: ClassVar[str] = "starts a trainer of your own, one process a run"
    reads_corpora: ClassVar[bool] = False

    def __init__(self, options: EngineOptions) -> None:
        super().__init__(options)
        if options.command is None:
            raise ProxyError(
                f"the engine {self.name!r} needs --command, such as 'python my_train.py --config {{spec}}'"
            )
        self._has_no_use_for("address", "metrics_command", "keep_models")
        self._template = CommandTemplate.parse(options.command, PLACEHOLDERS, needed="spec")
        self._temporary = tempfile.TemporaryDirectory(prefix="mixwright-runs-")
        kept = options.policy.checkpoints.folder if options.policy else Path(self._temporary.name)
        try:
            self._scratch = RunScratch((kept / "trainers").absolute())
        except OSError as exc:
            raise ProxyError(f"the folder {kept} cannot be used: {exc.strerror or exc}") from exc
        self._free_slots: queue.SimpleQueue[int] = queue.SimpleQueue()
        for slot in range(self.slots):
            self._free_slots.put(slot)

    @property
    def device(self) -> str:
        # Not the command itself, which may hold what is nobody's business.
        return f"{device_name(training_device())}, a trainer of its own"

    @property
    def processor(self) -> Processor:
        return processor_of(training_device().type)

    @property
    def slots(self) -> int:
        return self._options.slots or 1

    def preferred_stack(self, settings: ProxySettings) -> int:
        del settings
        return 1

    def train(self, assignments: Sequence[Assignment], corpus_folder: Path | None, watcher: Watcher) -> None:
        slot = self._free_slots.get()
        try:
            for assignment in assignments:
                if not watcher.stopping() and assignment.run_id not in watcher.unwanted():
                    self._train_one(assignment, corpus_folder, watcher, slot)
        finally:
            self._free_slots.put(slot)

    def close(self) -> None:
        self._temporary.cleanup()

    def _train_one(self, assignment: Assignment, corpus: Path | None, watcher: Watcher, slot: int) -> None:
        try:
            with self._scratch.of(assignment.run_id, _PATIENCE_SECONDS, watcher.stopping) as folder:
                command = self._prepared(assignment, corpus, folder.path)
                began = time.monotonic()
                with CommandProcess(command, self._environment(slot), folder.lock) as process:
                    said = TrainerLines(assignment.spec.settings)
                    outcome = TrainerDialogue(assignment.run_id, process, said, watcher).outcome()
                if isinstance(outcome, ProxyResult):
                    folder.finished = True
                    outcome = _with_times(outcome, time.monotonic() - began, process.end)
        except FolderInUse as error:
            outcome = None if watcher.stopping() else Failure(str(error), retry=True)
        except OSError as error:
            outcome = Failure(f"the trainer could not be given its run: {error}", retry=True)
        if outcome is not None and assignment.run_id not in watcher.unwanted():
            watcher.ended(assignment.run_id, outcome)

    def _prepared(self, assignment: Assignment, corpus: Path | None, folder: Path) -> list[str]:
        """The command of a run, after its files are written."""
        out, file = folder / "out", folder / "spec.json"
        out.mkdir(exist_ok=True)
        run = RunFile(
            run_id=assignment.run_id,
            spec=assignment.spec,
            draw_seed=assignment.spec.draw_seed,
            corpus=None if corpus is None else str(corpus.absolute()),
            out=str(out),
        )
        write_whole(file, lambda opened: opened.write(run.model_dump_json(indent=2).encode()))
        values = {"spec": str(file), "corpus": run.corpus or "", "out": str(out), "run_id": run.run_id}
        return self._template.filled(values)

    def _environment(self, slot: int) -> dict[str, str]:
        if self.slots > 1 and (gpus := visible_gpus()):
            return child_environment(**{GPU_VARIABLE: gpus[slot % len(gpus)]})
        return child_environment()


def _with_times(result: ProxyResult, wall_seconds: float, end: End | None) -> ProxyResult:
    """``result`` with what was measured here, where the trainer does not say it itself."""
    measured = {"wall_seconds": wall_seconds, "cpu_seconds": end.cpu_seconds if end else 0.0}
    return result.model_copy(
        update={name: value for name, value in measured.items() if name not in result.model_fields_set}
    )
