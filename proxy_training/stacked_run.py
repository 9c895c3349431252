"""A stack from its first step, or from a checkpoint, to the results of its runs."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from proxy_training.checkpoint import CheckpointPolicy, MemberHeader, StackState
from proxy_training.corpus_read import Corpus
from proxy_training.devices import device_name, processor_of
from proxy_training.divergence import why_diverged
from proxy_training.evaluate import MeasurementStopped, ValidationSet
from proxy_training.llama_export import TrainedProxy
from proxy_training.metrics_command import MeasurementFailed
from proxy_training.point_hooks import PointHook
from proxy_training.spec import Measured, Processor, ProxyResult, TrajectoryPoint
from proxy_training.train import StackTrainer
from proxy_training.work import Assignment, Failure, Watcher

# A stop that loses less than this is not worth a file.
_WORTH_SAVING_SECONDS = 3.0
# A file of gigabytes may take longer than this to write; it is then written so rarely that this takes a twentieth of
# the time at most.
_LONG_SAVE_SECONDS, _TRAINING_A_SAVE = 3.0, 20.0

log = logging.getLogger(__name__)


@dataclass
class _Member:
    """What one run has measured and used; seconds are its share of the stack's."""

    assignment: Assignment
    trajectory: list[TrajectoryPoint] = field(default_factory=list)
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0


class StackedRun:
    """Trains one stack and tells ``watcher`` of everything that happens to its runs.

    Args:
        hook: is shown every model that was measured.

    Raises:
        SpecError: the runs cannot share a stack, or do not fit the corpus.
    """

    def __init__(
        self,
        assignments: Sequence[Assignment],
        corpus: Corpus,
        validation: ValidationSet,
        watcher: Watcher,
        device: torch.device,
        policy: CheckpointPolicy | None = None,
        hook: PointHook | None = None,
    ) -> None:
        self._trainer = StackTrainer([assignment.spec for assignment in assignments], corpus, device)
        self._device_name = device_name(device)
        self._processor: Processor = processor_of(device.type)
        self._members = [_Member(assignment) for assignment in assignments]
        self._corpus = corpus
        self._hook = hook
        self._validation = validation
        self._watcher = watcher
        self._policy = policy
        self._measure_at = frozenset(self._trainer.settings.measured_tokens)
        self._unsaved_seconds = self._pause_seconds = 0.0

    def run(self) -> None:
        """Train until every run has ended, nobody wants the rest, or the watcher says stop."""
        self._resume()
        while self._trainer.members:
            if self._watcher.stopping():
                self._save_when_worthwhile()
                return
            self._drop_unwanted()
            try:
                if not self._go_on():
                    break
            except MeasurementStopped:
                continue
            if self._policy and self._unsaved_seconds > max(self._policy.every_seconds, self._pause_seconds):
                self._save()
        if self._policy:
            self._policy.checkpoints.forget([member.assignment.spec for member in self._members])

    def change_weights(self, run_id: str, weights: Mapping[str, float]) -> None:
        """Train a run that is still in the stack on other weights from its next step on.

        For whoever steers a mixture while it trains; call it from the thread that trains, which is the one that the
        watcher is called in. Checkpoints keep the change, and the result reports the stages that came of it.

        Raises:
            SpecError: the weights are no mixture, the corpus cannot give them, or no step is left.
        """
        members = {self._members[member].assignment.run_id: member for member in self._trainer.members}
        self._trainer.change_weights(members[run_id], weights)

    def _go_on(self) -> bool:
        """Do what comes next: measure, or train for a step. False when nothing is left to do."""
        trainer = self._trainer
        if self._measurement_is_due():
            with self._timed():
                points = trainer.measure(self._validation, self._watcher.stopping)
            self._take(dict(zip(trainer.members, points, strict=True)))
            return trainer.step < trainer.steps
        if trainer.step == trainer.steps or not trainer.members:
            return False
        with self._timed():
            _, diverged = trainer.advance()
        for member in diverged:
            self._end_diverged(member)
        self._watcher.progressed(self._run_ids(), trainer.train_tokens)
        return True

    def _measurement_is_due(self) -> bool:
        """Whether this step is one to measure after, and has not been: a stop may have come between the two."""
        trainer = self._trainer
        if trainer.train_tokens not in self._measure_at:
            return False
        trajectories = [self._members[member].trajectory for member in trainer.members]
        return any(not points or points[-1].train_tokens < trainer.train_tokens for points in trajectories)

    @contextmanager
    def _timed(self) -> Iterator[None]:
        """Share the seconds that pass among those that are now in the stack."""
        members, wall, cpu = list(self._trainer.members), time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            self._unsaved_seconds += wall
            for member in members:
                self._members[member].wall_seconds += wall / len(members)
                self._members[member].cpu_seconds += cpu / len(members)

    def _take(self, points: dict[int, dict[str, Measured] | None]) -> None:
        """Keep what was measured, and end the runs that are through or cannot be measured as asked.

        Raises:
            MeasurementStopped: a stop has come before the hook was through with all of them.
        """
        left = set()
        for member, losses in points.items():
            known = self._members[member]
            if known.trajectory and known.trajectory[-1].train_tokens == self._trainer.train_tokens:
                continue  # measured before the stop that made us measure again
            try:
                point = None if losses is None else self._point(member, losses)
            except MeasurementFailed as error:
                self._watcher.ended(known.assignment.run_id, Failure(str(error), retry=True))
                left.add(member)
                continue
            if point is None:
                self._end_diverged(member)
                left.add(member)
                continue
            if self._trainer.step < self._trainer.steps:
                known.trajectory.append(point)
                self._watcher.measured(known.assignment.run_id, point)
            else:
                # Kept in no checkpoint: a run that is resumed at its end is measured again, and so ends.
                self._end_measured(member, point)
        if left:
            self._trainer.keep(set(self._trainer.members) - left)

    def _point(self, member: int, losses: dict[str, Measured]) -> TrajectoryPoint:
        """The losses, and the metrics that the hook measures beside them."""
        trainer, metrics = self._trainer, {}
        if self._hook is not None:
            run = self._members[member].assignment
            row = trainer.flat.detach()[trainer.members.index(member)]
            proxy = TrainedProxy(run.run_id, run.spec, self._corpus, trainer.train_tokens, row)
            metrics = self._hook.at_point(proxy, losses, trainer.step == trainer.steps, self._watcher.stopping)
        return TrajectoryPoint(train_tokens=trainer.train_tokens, losses=losses, metrics=metrics)

    def _end_measured(self, member: int, last: TrajectoryPoint) -> None:
        """Report a run that was trained to its end, unless its losses are none."""
        trainer, known = self._trainer, self._members[member]
        weights, epochs = trainer.realised(member)
        trained_on = [name for name, weight in weights.items() if weight > 0]
        why = why_diverged(last.losses, trained_on, trainer.settings.model.vocab_size)
        if why:
            self._end_diverged(member, why)
            return
        self._end(
            member,
            status="succeeded",
            losses=last.losses,
            metrics=last.metrics,
            trajectory=(*known.trajectory, last),
            realised_weights=weights,
            realised_stages=trainer.realised_stages(member),
            epochs=epochs,
            stages=trainer.sampler(member).stages if trainer.sampler(member).changes else (),
        )

    def _end_diverged(self, member: int, why: str = "the loss was not finite") -> None:
        tokens, trajectory = self._trainer.train_tokens, tuple(self._members[member].trajectory)
        message = f"{why} after {tokens} tokens; a lower learning rate may help"
        self._end(member, status="diverged", trajectory=trajectory, message=message)

    def _end(self, member: int, **measured: Any) -> None:
        known = self._members[member]
        result = ProxyResult(
            train_tokens=self._trainer.train_tokens,
            wall_seconds=known.wall_seconds,
            cpu_seconds=known.cpu_seconds,
            device=self._device_name,
            processor=self._processor,
            precision=self._trainer.precision,
            **measured,
        )
        self._watcher.ended(known.assignment.run_id, result)

    def _drop_unwanted(self) -> None:
        unwanted = self._watcher.unwanted()
        if not unwanted:
            return
        wanted = [m for m in self._trainer.members if self._members[m].assignment.run_id not in unwanted]
        if len(wanted) < len(self._trainer.members):
            self._trainer.keep(wanted)

    def _run_ids(self) -> list[str]:
        return [self._members[member].assignment.run_id for member in self._trainer.members]

    def _resume(self) -> None:
        if self._policy is None:
            return
        state = self._policy.checkpoints.find(
            [member.assignment.spec for member in self._members], self._trainer.precision
        )
        if state is None:
            return
        arrays = (torch.from_numpy(array) for array in (state.parameters, state.first, state.second))
        self._trainer.restore(*arrays, step=state.step)
        for place, (member, header) in enumerate(zip(self._members, state.members, strict=True)):
            for change in header.changes:
                self._trainer.sampler(place).change_weights(change.from_step, change.weights)
            member.trajectory = list(header.trajectory)
            member.wall_seconds, member.cpu_seconds = header.wall_seconds, header.cpu_seconds
        log.info("Resumed %d runs at step %d", len(self._members), state.step, extra={"event": "stack_resumed"})

    def _save_when_worthwhile(self) -> None:
        if self._unsaved_seconds > _WORTH_SAVING_SECONDS:
            self._save()

    def _save(self) -> None:
        """Write a checkpoint; a full disk costs the checkpoint, not the training."""
        if self._policy is None or not self._trainer.members:
            return
        began = time.perf_counter()
        try:
            self._policy.checkpoints.save(self._state())
        except OSError as error:
            log.warning("The checkpoint could not be written: %s", error, extra={"event": "checkpoint_failed"})
        took = time.perf_counter() - began
        self._unsaved_seconds, self._pause_seconds = 0.0, _TRAINING_A_SAVE * took if took > _LONG_SAVE_SECONDS else 0.0

    def _state(self) -> StackState:
        trainer = self._trainer
        headers = tuple(
            MemberHeader(
                spec=known.assignment.spec,
                changes=trainer.sampler(member).changes,
                trajectory=tuple(known.trajectory),
                wall_seconds=known.wall_seconds,
                cpu_seconds=known.cpu_seconds,
            )
            for member, known in ((member, self._members[member]) for member in trainer.members)
        )
        arrays = (trainer.flat.detach(), trainer.optimizer.first, trainer.optimizer.second)
        parameters, first, second = (array.cpu().numpy() for array in arrays)
        return StackState(trainer.step, trainer.precision, headers, parameters, first, second)
