"""The contract of an engine, run over every engine that is registered."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy_training.corpus_read import Corpus
from proxy_training.engines import ENGINES
from proxy_training.engines.base import Engine, EngineOptions
from proxy_training.errors import CorpusError
from proxy_training.spec import ModelSpec, ProxySettings
from proxy_training.work import Assignment, Failure
from tests.proxy_training.text_corpora import make_corpus, texts
from tests.proxy_training.training_cases import STEP_TOKENS, Recorder, run_of, some_runs, tiny_settings


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder: Path = tmp_path_factory.mktemp("engines")
    return make_corpus(folder, {"a": texts(0, 30), "b": texts(1, 30)}, context=16, validation_fraction=0.2)


# What a trainer of the user's own does is not ours to promise; test_command_engine.py holds its engine to the rest.
@pytest.fixture(params=sorted(name for name, engine in ENGINES.items() if engine.reads_corpora))
def engine(request: pytest.FixtureRequest) -> Engine:
    return ENGINES[request.param](EngineOptions())


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
        assert watcher.progress[name] == [step * STEP_TOKENS for step in range(1, 6)]


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
    undisturbed, watcher = Recorder(), Recorder(drop={"1": 2 * STEP_TOKENS})
    for recorder in (undisturbed, watcher):
        engine.train([Assignment(str(spec.seed), spec) for spec in specs], corpus.folder, recorder)
    assert set(watcher.outcomes) == {"0", "2"}
    assert watcher.progress["1"] == [STEP_TOKENS, 2 * STEP_TOKENS]
    for name in ("0", "2"):
        assert watcher.result(name).losses == undisturbed.result(name).losses


def test_a_stop_is_heard_at_the_next_step(engine: Engine, corpus: Corpus) -> None:
    watcher = Recorder(stop_after_tokens=3 * STEP_TOKENS)
    assignments = [Assignment(str(spec.seed), spec) for spec in some_runs(corpus, 2, steps=50)]
    engine.train(assignments, corpus.folder, watcher)
    assert watcher.progress["0"][-1] == 3 * STEP_TOKENS
    assert watcher.outcomes == {}


def test_a_folder_that_is_no_corpus_is_named(engine: Engine, corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=str(tmp_path)):
        engine.train([Assignment("0", some_runs(corpus, 1)[0])], tmp_path, Recorder())


def settings_of(preset: str) -> ProxySettings:
    return ProxySettings(corpus_hash="corpus", model=ModelSpec(preset=preset), train_tokens=10**6)


def test_small_models_are_stacked_and_large_ones_are_not() -> None:
    engine = ENGINES["in_process"](EngineOptions())
    assert engine.preferred_stack(settings_of("0.03M")) > 1
    assert engine.preferred_stack(settings_of("150M")) == 1
