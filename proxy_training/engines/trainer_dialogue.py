"""The talk between an agent and one trainer of the user's own, from its start to what its run has come to."""

from __future__ import annotations

import logging
import os
import time

from proxy_training.command_process import CommandProcess, End
from proxy_training.engines.trainer_lines import Progress, TrainerLines, WrongLine
from proxy_training.paced_log import PacedLog
from proxy_training.spec import TrajectoryPoint
from proxy_training.work import Failure, Outcome, Watcher

# Wrong usage, data or configuration (sysexits.h, and what argparse ends with): any attempt would end alike.
_NO_RETRY = frozenset({2, os.EX_USAGE, os.EX_DATAERR, os.EX_CONFIG})
_LOOK_EVERY_SECONDS = 0.1
# A trainer that has said all that it can say ends by itself, or is ended after this long.
_LINGER_SECONDS = 60.0

log = logging.getLogger(__name__)


class TrainerDialogue:
    """Reads one trainer to its end, tells the watcher, and calls the trainer off when that is wanted."""

    def __init__(self, run_id: str, process: CommandProcess, said: TrainerLines, watcher: Watcher) -> None:
        self._run_id = run_id
        self._process = process
        self._said = said
        self._watcher = watcher
        self._log = PacedLog(log, "Trainer", {"event": "trainer_said", "run_id": run_id})
        self._fault: Failure | None = None
        self._called_off = False
        self._lingered = False
        self._speechless_since: float | None = None

    def outcome(self) -> Outcome | None:
        """How the run ended; None when it was called off before."""
        while self._process.end is None:
            for stream, line in self._process.read(_LOOK_EVERY_SECONDS):
                self._hear(line if stream == "stdout" else None, line)
            self._look_around()
        if self._said.result is not None:
            return self._said.result
        if self._fault is not None or self._called_off:
            return self._fault
        return self._judged(self._process.end)

    def _hear(self, said: str | None, line: str) -> None:
        if self._fault is not None:
            return
        try:
            heard = None if said is None else self._said.hear(said)
        except WrongLine as error:
            self._fault = Failure(str(error), retry=False)
            return
        match heard:
            case None:
                self._log.line(line)
            case Progress() | TrajectoryPoint():
                self._watcher.progressed([self._run_id], heard.train_tokens)
        if isinstance(heard, TrajectoryPoint) and not self._said.is_end(heard.train_tokens):
            self._watcher.measured(self._run_id, heard)

    def _look_around(self) -> None:
        """Call the trainer off where nobody wants it any more, or where it cannot say anything any more."""
        if self._watcher.stopping() or self._run_id in self._watcher.unwanted():
            self._called_off = True
        diverged = self._said.result is not None and self._said.result.status == "diverged"
        if self._called_off or diverged or self._fault is not None:
            self._process.stop()
            return
        if self._said.result is None and not self._process.is_silent:
            return
        self._speechless_since = self._speechless_since or time.monotonic()
        if time.monotonic() - self._speechless_since > _LINGER_SECONDS:
            self._lingered = True
            self._process.stop()

    def _judged(self, end: End) -> Outcome:
        """The outcome of a trainer that ended by itself and without a line that says its result."""
        measured = self._said.last_point_as_result()
        if self._lingered:
            return measured or Failure(
                f"the trainer closed its standard output without a result and went on for {_LINGER_SECONDS:g} seconds",
                retry=True,
            )
        if end.code == 0:
            return measured or Failure(
                f"the trainer ended well but without a result after {self._said.train_tokens} tokens; its last line "
                'must be {"status": ...} or a measurement at the end of the run',
                retry=False,
            )
        return Failure(
            f"the trainer {end.how} after {self._said.train_tokens} tokens: {self._process.last_errors}",
            retry=end.code not in _NO_RETRY,
        )
