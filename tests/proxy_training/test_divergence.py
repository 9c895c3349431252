"""Which runs have no number: those that exploded or collapsed, and no honest one."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from proxy_training.corpus_read import Corpus
from proxy_training.divergence import why_diverged
from proxy_training.evaluate import ValidationSet
from proxy_training.spec import Measured, ModelSpec, ProxyResult, ProxySpec
from proxy_training.stacked_run import StackedRun
from proxy_training.train import StackTrainer
from proxy_training.work import Assignment
from tests.proxy_training.text_corpora import make_corpus, texts
from tests.proxy_training.training_cases import TINY, Recorder, run_of, tiny_settings

LN_256 = math.log(256)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder: Path = tmp_path_factory.mktemp("divergence")
    return make_corpus(folder, {"a": texts(0, 30), "b": texts(1, 30)}, context=16, validation_fraction=0.2)


def losses(**nats: float) -> dict[str, Measured]:
    return {name: Measured(value=value / math.log(2), nats_per_token=value) for name, value in nats.items()}


def test_a_run_that_explodes_does_so_on_all_that_it_was_trained_on() -> None:
    why = why_diverged(losses(a=60.0, b=900.0), ["a", "b"], 256)
    assert why == "the loss is at least 60 nats per token where guessing has 5.545"
    assert why_diverged(losses(a=2.0, b=900.0), ["a", "b"], 256) is None
    assert why_diverged(losses(a=2.0, b=900.0), ["a"], 256) is None
    assert why_diverged(losses(a=2.0, b=900.0), ["b"], 256) is not None


def test_a_run_that_collapsed_gives_every_token_the_same_probability() -> None:
    assert why_diverged(losses(a=LN_256, b=LN_256 * (1 + 1e-7)), ["a", "b"], 256) is not None
    assert why_diverged(losses(a=LN_256, b=LN_256 + 1e-3), ["a", "b"], 256) is None


def train(spec: ProxySpec, corpus: Corpus) -> ProxyResult:
    watcher = Recorder()
    validation = ValidationSet.of(corpus, 16, 64)
    StackedRun([Assignment("run", spec)], corpus, validation, watcher, torch.device("cpu")).run()
    return watcher.result("run")


NARROW = ModelSpec(d_model=8, n_heads=2, n_layers=1, d_ff=8, context=16)
WIDE = ModelSpec(d_model=64, n_heads=4, d_ff=128, context=16)


@pytest.mark.parametrize("model", [NARROW, TINY, WIDE])
@pytest.mark.parametrize("rate", [10.0, 100.0, 1e4, 1e30])
def test_rates_that_are_much_too_high_give_no_number(rate: float, model: ModelSpec, corpus: Corpus) -> None:
    spec = run_of(tiny_settings(corpus, steps=20, model=model, optimizer={"learning_rate": rate}), {"a": 0.7, "b": 0.3})
    result = train(spec, corpus)
    assert result.status == "diverged"
    assert result.losses == {}
    assert "a lower learning rate may help" in result.message


@pytest.mark.parametrize("model", [NARROW, TINY, WIDE])
@pytest.mark.parametrize("rate", [1e-9, 2e-2, 0.2])
@pytest.mark.parametrize("steps", [1, 40])
def test_runs_that_are_merely_short_or_slow_or_hasty_keep_their_numbers(
    steps: int, rate: float, model: ModelSpec, corpus: Corpus
) -> None:
    settings = tiny_settings(corpus, steps=steps, model=model, optimizer={"learning_rate": rate})
    for weights in ({"a": 1.0}, {"a": 0.5, "b": 0.5}):
        assert train(run_of(settings, weights), corpus).status == "succeeded"


def test_a_run_whose_validation_loss_alone_is_not_finite_has_diverged(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StackTrainer, "measure", lambda *_: [None])
    result = train(run_of(tiny_settings(corpus, steps=1), {"a": 1.0}), corpus)
    assert result.status == "diverged"
    assert result.message.startswith("the loss was not finite after 64 tokens")
