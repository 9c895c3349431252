"""A stack whose mixtures are steered while it trains, and what its results say about where they come from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from proxy_training.checkpoint import CheckpointPolicy, Checkpoints
from proxy_training.corpus_read import Corpus
from proxy_training.errors import SpecError
from proxy_training.evaluate import ValidationSet
from proxy_training.spec import ProxyResult, ProxySpec, TrajectoryPoint
from proxy_training.stacked_run import StackedRun
from proxy_training.work import Assignment
from tests.proxy_training.text_corpora import make_corpus, names_in, texts
from tests.proxy_training.training_cases import STEP_TOKENS, Recorder, some_runs


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder: Path = tmp_path_factory.mktemp("stacked_run")
    return make_corpus(folder, {"a": texts(0, 30), "b": texts(1, 30)}, context=16, validation_fraction=0.2)


class Mixer(Recorder):
    """Gives a run other weights whenever it is measured."""

    def __init__(self, weights: Mapping[str, Mapping[str, float]], stop_after_tokens: int | None = None) -> None:
        super().__init__(stop_after_tokens)
        self._weights = weights
        self.run: StackedRun | None = None

    def measured(self, run_id: str, point: TrajectoryPoint) -> None:
        super().measured(run_id, point)
        if run_id in self._weights and self.run is not None:
            self.run.change_weights(run_id, self._weights[run_id])


def train(specs: list[ProxySpec], corpus: Corpus, watcher: Recorder, folder: Path | None = None) -> None:
    policy = None if folder is None else CheckpointPolicy(Checkpoints(folder), 0.0)
    assignments = [Assignment(str(spec.seed), spec) for spec in specs]
    run = StackedRun(assignments, corpus, ValidationSet.of(corpus, 16, 8), watcher, torch.device("cpu"), policy)
    if isinstance(watcher, Mixer):
        watcher.run = run
    run.run()


def without_times(result: ProxyResult) -> ProxyResult:
    return result.model_copy(update={"wall_seconds": 0.0, "cpu_seconds": 0.0})


STEERED = {"0": {"b": 1.0}}


def measured_runs(corpus: Corpus) -> list[ProxySpec]:
    return some_runs(corpus, 2, steps=10, measure_at_tokens=(4 * STEP_TOKENS,))


def test_a_steered_run_reports_the_stages_that_it_was_trained_on(corpus: Corpus) -> None:
    specs, plain, steered = measured_runs(corpus), Recorder(), Mixer(STEERED)
    train(specs, corpus, plain)
    train(specs, corpus, steered)
    result = steered.result("0")
    spans = [(stage.from_token // STEP_TOKENS, stage.to_token // STEP_TOKENS) for stage in result.stages]
    assert spans == [(0, 4), (4, 10)]
    assert [stage.weights for stage in result.stages] == [specs[0].stages[0].weights, {"b": 1.0}]
    # 40 sequences, 4 a step: of the first 16 a third are for "a".
    early, late = result.realised_stages
    assert (early.to_token, early.weights["a"]) == (4 * STEP_TOKENS, pytest.approx(1 / 3, abs=1 / 16))
    assert late.weights["b"] == pytest.approx(1, abs=1 / 24)
    assert result.realised_weights["a"] == pytest.approx(16 / 3 / 40, abs=1 / 40)
    assert result.losses != plain.result("0").losses
    assert result.trajectory[0] == plain.result("0").trajectory[0]
    assert without_times(steered.result("1")) == without_times(plain.result("1"))
    assert plain.result("0").stages == plain.result("0").realised_stages == ()


@pytest.mark.parametrize("stop_after", [3, 4, 7])
def test_a_steered_run_goes_on_after_a_stop_as_if_there_had_been_none(
    stop_after: int, corpus: Corpus, tmp_path: Path
) -> None:
    specs, undisturbed, resumed = measured_runs(corpus), Mixer(STEERED), Mixer(STEERED)
    train(specs, corpus, undisturbed)
    train(specs, corpus, Mixer(STEERED, stop_after_tokens=stop_after * STEP_TOKENS), tmp_path)
    train(specs, corpus, resumed, tmp_path)
    assert resumed.progress["0"][0] == (stop_after + 1) * STEP_TOKENS
    for name in ("0", "1"):
        assert without_times(resumed.result(name)) == without_times(undisturbed.result(name))
    assert names_in(tmp_path) == []


def test_weights_that_the_corpus_cannot_give_are_an_error_of_whoever_steers(corpus: Corpus) -> None:
    with pytest.raises(SpecError, match="'poetry'; the corpus has a, b"):
        train(measured_runs(corpus), corpus, Mixer({"0": {"poetry": 1.0}}))


def test_a_result_says_what_it_was_computed_on(corpus: Corpus) -> None:
    watcher = Recorder()
    train(some_runs(corpus, 1, steps=2), corpus, watcher)
    assert watcher.result("0").device.startswith("cpu")
    assert watcher.result("0").precision == "fp32"
