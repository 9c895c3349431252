"""A batch that is too large for the memory: by real shortage in a process with a limit, and by made-up ones."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from proxy_training.checkpoint import CheckpointPolicy, Checkpoints
from proxy_training.corpus_read import Corpus
from proxy_training.engines import in_process
from proxy_training.engines.base import EngineOptions
from proxy_training.engines.halving import Shortage, StackHalving, TrainStack
from proxy_training.engines.in_process import InProcessEngine
from proxy_training.stacked_run import StackedRun
from proxy_training.work import Assignment, Failure, Watcher
from tests.proxy_training.text_corpora import make_corpus, names_in, texts
from tests.proxy_training.training_cases import STEP_TOKENS, Recorder, made_up_run, some_runs

CPU_SAYS = (
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate "
    "68719476736 bytes. Error code 12 (Cannot allocate memory)"
)
SHORTAGES = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"),
    MemoryError(),
    RuntimeError(CPU_SAYS),
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder: Path = tmp_path_factory.mktemp("halving")
    return make_corpus(folder, {"a": texts(0, 30), "b": texts(1, 30)}, context=16, validation_fraction=0.2)


def assignments_of(corpus: Corpus, count: int, steps: int = 6) -> list[Assignment]:
    return [Assignment(str(spec.seed), spec) for spec in some_runs(corpus, count, steps=steps)]


def short_of_memory(monkeypatch: pytest.MonkeyPatch, room: int, error: Exception, after_tokens: int = 0) -> list[int]:
    """Stacks of more than ``room`` runs end with ``error`` once they have come that far. Returns the sizes tried."""
    tried: list[int] = []

    class Stack(StackedRun):
        def __init__(self, assignments: Sequence[Assignment], *rest: object) -> None:
            tried.append(len(assignments))
            super().__init__(assignments, *rest)  # type: ignore[arg-type]
            advance = self._trainer.advance

            def advance_in_little_memory() -> object:
                if len(self._trainer.members) > room and self._trainer.train_tokens >= after_tokens:
                    raise error
                return advance()

            self._trainer.advance = advance_in_little_memory  # type: ignore[method-assign,assignment]

    monkeypatch.setattr(in_process, "StackedRun", Stack)
    return tried


@pytest.mark.parametrize("error", SHORTAGES, ids=lambda error: type(error).__name__)
def test_halves_give_the_results_of_the_whole_and_later_batches_are_not_tried_whole(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    assignments = assignments_of(corpus, 7)
    undisturbed, halved, again = Recorder(), Recorder(), Recorder()
    engine = InProcessEngine(EngineOptions())
    engine.train(assignments, corpus.folder, undisturbed)
    tried = short_of_memory(monkeypatch, 2, error)
    with caplog.at_level(logging.WARNING):
        engine.train(assignments, corpus.folder, halved)
    # 7 do not fit, nor 4; the other 3 are made of parts that do.
    assert tried == [7, 4, 2, 2, 3, 2, 1]
    assert "Memory is too small for 7 runs at once" in caplog.text
    for assignment in assignments:
        run_id = assignment.run_id
        assert halved.result(run_id).losses == undisturbed.result(run_id).losses
    tried.clear()
    engine.train(assignments, corpus.folder, again)
    assert tried == [2, 2, 2, 1]
    assert engine.preferred_stack(assignments[0].spec.settings) == 2
    assert engine.preferred_stack(made_up_run().settings) > 2


def test_halves_go_on_from_a_checkpoint(corpus: Corpus, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assignments = assignments_of(corpus, 3)
    undisturbed, halved = Recorder(), Recorder()
    InProcessEngine(EngineOptions()).train(assignments, corpus.folder, undisturbed)
    short_of_memory(monkeypatch, 2, MemoryError(), after_tokens=4 * STEP_TOKENS)
    engine = InProcessEngine(EngineOptions(policy=CheckpointPolicy(Checkpoints(tmp_path), every_seconds=0.0)))
    engine.train(assignments, corpus.folder, halved)
    for name in ("0", "1", "2"):
        assert halved.progress[name] == [STEP_TOKENS * step for step in range(1, 7)]
        assert halved.result(name).losses == undisturbed.result(name).losses
    assert names_in(tmp_path) == []  # neither the checkpoint of the whole stack nor those of its halves


def test_a_run_that_does_not_fit_alone_fails_with_what_it_needs_and_what_there_is(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    short_of_memory(monkeypatch, 0, RuntimeError(CPU_SAYS))
    watcher = Recorder()
    InProcessEngine(EngineOptions()).train(assignments_of(corpus, 2), corpus.folder, watcher)
    for name in ("0", "1"):
        outcome = watcher.outcomes[name]
        assert isinstance(outcome, Failure)
        assert outcome.retry  # another machine may have more
        assert "it needs about 0.0 GiB, and " in outcome.reason
        assert "you tried to allocate 68719476736 bytes" in outcome.reason


def test_other_errors_are_not_taken_for_a_shortage(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    short_of_memory(monkeypatch, 0, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        InProcessEngine(EngineOptions()).train(assignments_of(corpus, 2), corpus.folder, Recorder())


TOO_LARGE = Shortage("said the system", "does not fit alone")


def halve(train: TrainStack, watcher: Recorder, halving: StackHalving | None = None, count: int = 4) -> None:
    assignments = [Assignment(str(seed), made_up_run(seed)) for seed in range(count)]
    (halving or StackHalving()).train(assignments, watcher, train)


def test_runs_that_ended_before_the_shortage_or_are_unwanted_are_not_trained_again() -> None:
    tried: list[list[str]] = []

    def train(part: Sequence[Assignment], watcher: Watcher) -> Shortage | None:
        tried.append([assignment.run_id for assignment in part])
        if len(part) <= 2:
            return None
        watcher.ended("1", Failure("diverged", retry=False))
        watcher.progressed(["0", "2", "3"], STEP_TOKENS)  # from here on nobody wants run 0
        return TOO_LARGE

    halve(train, Recorder(drop={"0": STEP_TOKENS}))
    assert tried == [["0", "1", "2", "3"], ["2"], ["3"]]


def test_after_a_stop_no_further_part_is_begun() -> None:
    tried: list[int] = []

    def train(part: Sequence[Assignment], watcher: Watcher) -> Shortage | None:
        tried.append(len(part))
        if len(part) > 2:
            return TOO_LARGE
        watcher.progressed([part[0].run_id], STEP_TOKENS)
        return None

    watcher = Recorder(stop_after_tokens=STEP_TOKENS)
    halve(train, watcher)
    assert tried == [4, 2]
    assert watcher.outcomes == {}


def test_a_shortage_under_a_stop_fails_nobody() -> None:
    watcher = Recorder(stop_after_tokens=STEP_TOKENS)

    def train(part: Sequence[Assignment], watcher: Watcher) -> Shortage:
        watcher.progressed([part[0].run_id], STEP_TOKENS)
        return TOO_LARGE

    halve(train, watcher, count=1)
    assert watcher.outcomes == {}


def test_a_larger_stack_that_fails_late_does_not_raise_what_a_smaller_one_has_found() -> None:
    halving, settings = StackHalving(), made_up_run().settings

    def train(part: Sequence[Assignment], watcher: Watcher) -> Shortage | None:
        if len(part) == 4:  # while this one trains, another slot finds that two are too many
            halve(lambda part, _: TOO_LARGE if len(part) == 2 else None, Recorder(), halving, count=2)
        return TOO_LARGE if len(part) > 1 else None

    halve(train, Recorder(), halving)
    assert halving.largest(settings, 8) == 1


IN_LITTLE_MEMORY = """
import json, logging, resource, sys
from pathlib import Path
from proxy_training.corpus_read import Corpus
from proxy_training.engines.base import EngineOptions
from proxy_training.engines.in_process import InProcessEngine
from proxy_training.spec import ModelSpec
from proxy_training.stack_size import needed_bytes
from proxy_training.work import Assignment
from tests.proxy_training.training_cases import Recorder, some_runs

logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
corpus = Corpus.open(Path(sys.argv[1]))
# A wide feed-forward block: almost all is activations and parameters of it, about 45 MB a run.
model = ModelSpec(d_model=16, n_layers=1, n_heads=2, d_ff=8192, context=64)
specs = some_runs(corpus, 8, steps=2, model=model)
assignments = [Assignment(str(spec.seed), spec) for spec in specs]
whole, halved = Recorder(), Recorder()
InProcessEngine(EngineOptions()).train(assignments[:1], corpus.folder, Recorder())
# Before anything large: what an allocator has once got it may keep.
taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
_, hard = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (taken + int(0.7 * needed_bytes(specs[0].settings, "cpu", 8)), hard))
InProcessEngine(EngineOptions()).train(assignments, corpus.folder, halved)
resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
InProcessEngine(EngineOptions()).train(assignments, corpus.folder, whole)
print(json.dumps([[recorder.result(name).model_dump(mode="json")["losses"] for name in recorder.outcomes]
                  for recorder in (whole, halved)]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits of a process's memory work otherwise elsewhere")
def test_a_process_with_too_little_memory_trains_in_halves_to_the_same_losses(corpus: Corpus, checkout: Path) -> None:
    command = [sys.executable, "-c", IN_LITTLE_MEMORY, str(corpus.folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=checkout)
    assert done.returncode == 0, done.stderr
    assert "Memory is too small for 8 runs at once" in done.stderr
    whole, halved = json.loads(done.stdout)
    assert len(whole) == 8
    assert halved == whole
