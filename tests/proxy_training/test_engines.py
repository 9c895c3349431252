"""The contract of an engine, run over those that need nothing but this machine.

A cluster and a trainer of the user's own have tests of their own.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from proxy_training.checkpoint import CheckpointPolicy, Checkpoints
from proxy_training.corpus_read import Corpus
from proxy_training.engines import ENGINES
from proxy_training.engines.base import Engine, EngineOptions
from proxy_training.errors import CorpusError, ProxyError, SpecError
from proxy_training.spec import ModelSpec, ProxySettings
from proxy_training.work import Assignment, Failure
from tests.proxy_training.text_corpora import make_corpus, texts
from tests.proxy_training.training_cases import STEP_TOKENS, Recorder, run_of, some_runs, tiny_settings


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder: Path = tmp_path_factory.mktemp("engines")
    return make_corpus(folder, {"a": texts(0, 30), "b": texts(1, 30)}, context=16, validation_fraction=0.2)


# A cluster and a trainer of the user's own have tests of their own.
LOCAL = sorted(ENGINES.keys() - {"command", "ray"})
LONG = 100_000  # steps: more than a test waits for


@pytest.fixture(scope="module", params=LOCAL)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """One for all tests, as an agent has one for all batches."""
    made = ENGINES[request.param](EngineOptions())
    yield made
    made.close()


def test_names_are_those_of_the_registry() -> None:
    assert {name: engine.name for name, engine in ENGINES.items()} == {name: name for name in ENGINES}


def test_every_run_ends_once_with_the_losses_of_every_domain(engine: Engine, corpus: Corpus) -> None:
    specs = some_runs(corpus, 3, steps=5, measure_at_tokens=(2 * STEP_TOKENS,))
    watcher = Recorder()
    engine.train([Assignment(f"run {spec.seed}", spec) for spec in specs], corpus.folder, watcher)
    assert set(watcher.outcomes) == {"run 0", "run 1", "run 2"}
    for name in watcher.outcomes:
        result = watcher.result(name)
        assert result.status == "succeeded"
        assert result.train_tokens == 5 * STEP_TOKENS
        assert set(result.losses) == {"a", "b"}
        assert [point.train_tokens for point in result.trajectory] == [2 * STEP_TOKENS, 5 * STEP_TOKENS]
        assert result.trajectory[-1].losses == result.losses
        assert result.cpu_seconds > 0
        # Engines in other processes leave out what nobody can follow, but never the last of it.
        assert watcher.progress[name] == sorted(set(watcher.progress[name]))
        assert watcher.progress[name][-1] == 5 * STEP_TOKENS


def test_more_of_a_domain_gives_a_lower_loss_on_it(engine: Engine, corpus: Corpus) -> None:
    settings = tiny_settings(corpus, steps=30)
    specs = [run_of(settings, {"a": 0.9, "b": 0.1}), run_of(settings, {"a": 0.1, "b": 0.9})]
    watcher = Recorder()
    engine.train([Assignment(str(place), spec) for place, spec in enumerate(specs)], corpus.folder, watcher)
    mostly_a, mostly_b = (watcher.result(name).losses for name in ("0", "1"))
    assert mostly_a["a"].value < mostly_b["a"].value - 0.1
    assert mostly_b["b"].value < mostly_a["b"].value - 0.1


def test_training_twice_gives_the_same_result(engine: Engine, corpus: Corpus) -> None:
    specs = some_runs(corpus, 2, steps=4)
    losses = []
    for _ in range(2):
        watcher = Recorder()
        engine.train([Assignment(str(spec.seed), spec) for spec in specs], corpus.folder, watcher)
        losses.append([watcher.result(name).losses for name in ("0", "1")])
    assert losses[0] == losses[1]


def test_a_run_that_does_not_fit_the_corpus_fails_alone(engine: Engine, corpus: Corpus) -> None:
    settings = tiny_settings(corpus, steps=3)
    good, bad = run_of(settings, {"a": 1.0}), run_of(settings, {"poetry": 1.0})
    watcher = Recorder()
    engine.train([Assignment("good", good), Assignment("bad", bad)], corpus.folder, watcher)
    assert watcher.result("good").status == "succeeded"
    outcome = watcher.outcomes["bad"]
    assert isinstance(outcome, Failure)
    assert not outcome.retry
    assert "'poetry'" in outcome.reason


def test_a_diverging_run_has_no_number_and_leaves_the_others_alone(engine: Engine, corpus: Corpus) -> None:
    # One rate serves the stack: at this one every run diverges, at the usual one none does.
    wild = some_runs(corpus, 2, steps=6, optimizer={"learning_rate": 1e30})
    watcher = Recorder()
    engine.train([Assignment(str(spec.seed), spec) for spec in wild], corpus.folder, watcher)
    for name in ("0", "1"):
        result = watcher.result(name)
        assert result.status == "diverged"
        assert result.losses == {}
        assert "not finite" in result.message


def test_a_dropped_run_ends_without_an_outcome(engine: Engine, corpus: Corpus) -> None:
    specs = some_runs(corpus, 3, steps=6)
    undisturbed, watcher = Recorder(), Recorder(drop={"1": STEP_TOKENS})
    for recorder in (undisturbed, watcher):
        engine.train([Assignment(str(spec.seed), spec) for spec in specs], corpus.folder, recorder)
    assert set(watcher.outcomes) == {"0", "2"}
    for name in ("0", "2"):
        assert watcher.result(name).losses == undisturbed.result(name).losses


def test_a_stop_ends_the_batch_without_outcomes(engine: Engine, corpus: Corpus) -> None:
    watcher = Recorder(stop_after_tokens=3 * STEP_TOKENS)
    assignments = [Assignment(str(spec.seed), spec) for spec in some_runs(corpus, 2, steps=LONG)]
    engine.train(assignments, corpus.folder, watcher)
    assert 3 * STEP_TOKENS <= watcher.progress["0"][-1] < LONG * STEP_TOKENS
    assert watcher.outcomes == {}


def test_in_process_a_stop_is_heard_at_the_next_step_and_a_drop_too(corpus: Corpus) -> None:
    watcher = Recorder(stop_after_tokens=3 * STEP_TOKENS, drop={"1": 2 * STEP_TOKENS})
    assignments = [Assignment(str(spec.seed), spec) for spec in some_runs(corpus, 2, steps=LONG)]
    ENGINES["in_process"](EngineOptions()).train(assignments, corpus.folder, watcher)
    assert watcher.progress == {"0": [STEP_TOKENS * step for step in (1, 2, 3)], "1": [STEP_TOKENS, 2 * STEP_TOKENS]}


class StopTogether(Recorder):
    """Stops when every one of ``others`` has seen progress."""

    others: Sequence[Recorder] = ()

    def stopping(self) -> bool:
        return all(other.progress for other in self.others)


def test_as_many_batches_as_there_are_slots_train_at_once(engine: Engine, corpus: Corpus) -> None:
    # Both batches are under way before either is told to stop.
    watchers = [StopTogether() for _ in range(min(engine.slots, 2))]
    for watcher in watchers:
        watcher.others = watchers
    assignments = [Assignment(str(spec.seed), spec) for spec in some_runs(corpus, 2, steps=LONG)]
    with ThreadPoolExecutor(len(watchers)) as threads:
        list(threads.map(lambda watcher: engine.train(assignments, corpus.folder, watcher), watchers))
    assert all(watcher.progress for watcher in watchers)


def test_runs_of_different_settings_are_no_stack(engine: Engine, corpus: Corpus) -> None:
    specs = [*some_runs(corpus, 1, steps=3), *some_runs(corpus, 1, steps=4)]
    with pytest.raises(SpecError, match="equal settings"):
        engine.train([Assignment(str(place), spec) for place, spec in enumerate(specs)], corpus.folder, Recorder())


@pytest.fixture(params=LOCAL)
def saving_engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """Saves its stack after every step."""
    made = ENGINES[request.param](EngineOptions(policy=CheckpointPolicy(Checkpoints(tmp_path), every_seconds=0.0)))
    yield made
    made.close()


def test_a_stopped_batch_is_saved_and_goes_on_to_the_losses_of_an_undisturbed_one(
    saving_engine: Engine, corpus: Corpus, tmp_path: Path
) -> None:
    checkpoints = Checkpoints(tmp_path)
    long = some_runs(corpus, 2, steps=LONG)
    saving_engine.train(
        [Assignment(str(spec.seed), spec) for spec in long], corpus.folder, Recorder(stop_after_tokens=STEP_TOKENS)
    )
    assert checkpoints.find(long, "fp32") is not None

    specs = some_runs(corpus, 2, steps=20, measure_at_tokens=(5 * STEP_TOKENS,))
    assignments = [Assignment(str(spec.seed), spec) for spec in specs]
    here = ENGINES["in_process"](EngineOptions(policy=CheckpointPolicy(checkpoints, every_seconds=0.0)))
    here.train(assignments, corpus.folder, Recorder(stop_after_tokens=10 * STEP_TOKENS))
    saved = checkpoints.find(specs, "fp32")
    assert saved is not None
    assert saved.step == 10
    undisturbed, resumed = Recorder(), Recorder()
    saving_engine.train(assignments, corpus.folder, resumed)
    ENGINES["in_process"](EngineOptions()).train(assignments, corpus.folder, undisturbed)
    for name in ("0", "1"):
        assert resumed.progress[name][0] == 11 * STEP_TOKENS
        assert resumed.result(name).losses == undisturbed.result(name).losses
        assert resumed.result(name).trajectory == undisturbed.result(name).trajectory


def test_a_folder_that_is_no_corpus_is_named(engine: Engine, corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=str(tmp_path)):
        engine.train([Assignment("0", some_runs(corpus, 1)[0])], tmp_path, Recorder())


class CutsShort(Recorder):
    """Somebody else empties a file when the training is under way."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def progressed(self, run_ids: Collection[str], train_tokens: int) -> None:
        super().progressed(run_ids, train_tokens)
        os.truncate(self._path, 100)


def test_a_shard_that_is_cut_short_in_the_middle_of_a_run_is_named_and_kills_nobody(
    engine: Engine, corpus: Corpus, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(corpus.folder, tmp_path / "corpus"))
    shard = corpus.manifest.domains[1].train.shard
    watcher = CutsShort(folder / shard.file)
    # More steps than are read at once.
    assignments = [Assignment(str(spec.seed), spec) for spec in some_runs(corpus, 2, steps=LONG)]
    cut_short = rf"{shard.file} was cut short while it was in use, from {shard.bytes} bytes to 100; build the corpus"
    with pytest.raises(CorpusError, match=cut_short):
        engine.train(assignments, folder, watcher)
    assert watcher.progress["0"][-1] > watcher.progress["0"][0]  # it went on until it came to what was missing
    assert watcher.outcomes == {}
    engine.train(assignments[:1], corpus.folder, Recorder(stop_after_tokens=STEP_TOKENS))  # it is still alive


@pytest.mark.parametrize("name", LOCAL)
def test_a_gpu_that_is_not_there_is_an_error_and_no_training_on_the_cpu(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,97")
    with pytest.raises(ProxyError, match="CUDA_VISIBLE_DEVICES=0,97 names 2 GPUs"):
        ENGINES[name](EngineOptions())


@pytest.mark.parametrize("name", LOCAL)
@pytest.mark.parametrize("options", [EngineOptions(address="10.0.0.1:6379"), EngineOptions(command="train {spec}")])
def test_options_of_other_engines_are_refused(name: str, options: EngineOptions) -> None:
    option = "address" if options.address else "command"
    with pytest.raises(ProxyError, match=f"{name!r} has no use for --{option}"):
        ENGINES[name](options)


def settings_of(preset: str) -> ProxySettings:
    return ProxySettings(corpus_hash="corpus", model=ModelSpec.model_validate({"preset": preset}), train_tokens=10**6)


def test_small_models_are_stacked_and_large_ones_are_not(engine: Engine) -> None:
    assert engine.preferred_stack(settings_of("0.03M")) > 1
    assert engine.preferred_stack(settings_of("150M")) == 1
