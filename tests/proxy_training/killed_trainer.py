"""A process that trains with a checkpoint after every step, and dies of SIGKILL where its test says so."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Collection
from pathlib import Path
from typing import IO, Any

import torch

from proxy_training import checkpoint as checkpoint_module
from proxy_training.checkpoint import CheckpointPolicy, Checkpoints
from proxy_training.corpus_read import Corpus
from proxy_training.evaluate import ValidationSet
from proxy_training.spec import ProxySpec
from proxy_training.stacked_run import StackedRun
from proxy_training.work import Assignment
from tests.proxy_training.training_cases import STEP_TOKENS, Recorder, some_runs

STEPS = 30


def specs_of(corpus: Corpus) -> list[ProxySpec]:
    """What is trained, in the killed process and in those that go on after it."""
    return some_runs(corpus, 3, steps=STEPS, measure_at_tokens=(5 * STEP_TOKENS, 20 * STEP_TOKENS))


def train(corpus: Corpus, watcher: Recorder, checkpoints: Path | None = None) -> None:
    """Train on one thread, whose sums do not depend on the machine's load."""
    torch.set_num_threads(1)
    policy = None if checkpoints is None else CheckpointPolicy(Checkpoints(checkpoints), 0.0)
    assignments = [Assignment(str(spec.seed), spec) for spec in specs_of(corpus)]
    StackedRun(assignments, corpus, ValidationSet.of(corpus, 16, 8), watcher, torch.device("cpu"), policy).run()


class Announcer(Recorder):
    """Tells the test of every step."""

    def progressed(self, run_ids: Collection[str], train_tokens: int) -> None:
        super().progressed(run_ids, train_tokens)
        sys.stdout.write(f"{train_tokens}\n")
        sys.stdout.flush()


def die_in_save(number: int) -> None:
    """Let the process kill itself when half of its ``number``-th checkpoint is on the disk."""
    saves, save = [0], checkpoint_module.write_stack

    def write_stack(file: IO[bytes], *content: Any) -> None:
        saves[0] += 1
        save(file, *content)
        if saves[0] == number:
            file.truncate(file.tell() // 2)
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)

    checkpoint_module.write_stack = write_stack


if __name__ == "__main__":
    if sys.argv[3:]:
        die_in_save(int(sys.argv[3]))
    train(Corpus.open(Path(sys.argv[1])), Announcer(), Path(sys.argv[2]))
