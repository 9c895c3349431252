"""A run that was killed twice, once in the middle of a checkpoint, ends with the losses of an undisturbed one."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from proxy_training.corpus_read import Corpus
from proxy_training.spec import ProxyResult
from tests.proxy_training.killed_trainer import STEPS, train
from tests.proxy_training.text_corpora import make_corpus, names_in, texts
from tests.proxy_training.training_cases import STEP_TOKENS, Recorder


def start(corpus: Corpus, checkpoints: Path, *die_in_save: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.proxy_training.killed_trainer", str(corpus.folder), str(checkpoints)]
    return subprocess.Popen([*command, *die_in_save], stdout=subprocess.PIPE, text=True)


def step_of(line: str) -> int:
    return int(line) // STEP_TOKENS


def losses_of(result: ProxyResult) -> object:
    return result.losses, result.trajectory, result.realised_weights, result.epochs


@pytest.mark.slow
def test_a_run_that_is_killed_at_any_time_goes_on_to_the_same_losses(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "text", {"a": texts(0, 30), "b": texts(1, 30)}, context=16, validation_fraction=0.2)
    checkpoints, threads = tmp_path / "checkpoints", torch.get_num_threads()
    undisturbed, last = Recorder(), Recorder()
    try:
        train(corpus, undisturbed)

        in_a_save = start(corpus, checkpoints, "8")
        steps, _ = in_a_save.communicate(timeout=60)
        assert in_a_save.returncode == -signal.SIGKILL
        assert len(steps.split()) < STEPS
        assert [name.endswith(".part") for name in names_in(checkpoints)] == [True, False]

        at_some_step = start(corpus, checkpoints)
        assert at_some_step.stdout is not None
        # It went on from the last whole checkpoint: the half one stands for the step after it, or after a measurement.
        first = step_of(at_some_step.stdout.readline())
        assert first in (step_of(steps.split()[-1]), step_of(steps.split()[-1]) + 1)
        while step_of(at_some_step.stdout.readline()) < first + 4:
            pass
        at_some_step.kill()
        at_some_step.communicate()
        assert at_some_step.returncode == -signal.SIGKILL

        train(corpus, last, checkpoints)
    finally:
        torch.set_num_threads(threads)
    assert first + 3 < last.progress["0"][0] // STEP_TOKENS <= STEPS
    for name in ("0", "1", "2"):
        assert losses_of(last.result(name)) == losses_of(undisturbed.result(name))
    assert [name for name in names_in(checkpoints) if not name.endswith(".part")] == []
