"""Training steps: stacked equals alone, and a proxy that breaks leaves the others as they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.stacked_training import train_plain
from proxy_training.corpus_read import Corpus
from proxy_training.errors import SpecError
from proxy_training.spec import ProxySpec
from proxy_training.train import StackTrainer
from tests.proxy_training.text_corpora import make_corpus, texts
from tests.proxy_training.training_cases import run_of, some_runs, tiny_settings

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder: Path = tmp_path_factory.mktemp("train")
    return make_corpus(folder, {"a": texts(0, 30), "b": texts(1, 30)}, context=16, validation_fraction=0.2)


def train_losses(specs: list[ProxySpec], corpus: Corpus) -> np.ndarray:
    """(steps, K)"""
    trainer = StackTrainer(specs, corpus, CPU)
    return np.stack([trainer.advance()[0] for _ in range(trainer.steps)])


@pytest.mark.parametrize("count", [1, 3, 5])
def test_a_stack_trains_each_proxy_as_it_would_train_alone(count: int, corpus: Corpus) -> None:
    specs = some_runs(corpus, count, steps=12)
    stacked = train_losses(specs, corpus)
    for row, spec in enumerate(specs):
        np.testing.assert_allclose(stacked[:, row], train_losses([spec], corpus)[:, 0], rtol=0, atol=1e-5)


def test_training_is_that_of_the_plain_loop_that_everyone_writes(corpus: Corpus) -> None:
    (spec,) = some_runs(corpus, 1, steps=10, optimizer={"learning_rate": 1e-2, "grad_clip": 0.5})
    assert train_losses([spec], corpus)[-1, 0] == pytest.approx(train_plain(spec, corpus), abs=1e-4)


def test_training_learns_the_text(corpus: Corpus) -> None:
    losses = train_losses([run_of(tiny_settings(corpus, steps=60), {"a": 1.0})], corpus)[:, 0]
    assert losses[0] > np.log(256)  # at first it knows nothing of 256 bytes
    # The text is uniform over 9 letters: log 9 = 2.2 nats is what there is to learn.
    assert np.log(9) - 0.1 < losses[-5:].mean() < 2.9


def test_equal_runs_have_equal_losses_wherever_they_stand(corpus: Corpus) -> None:
    spec, other = some_runs(corpus, 2, steps=4)
    losses = train_losses([spec, other, spec], corpus)
    np.testing.assert_allclose(losses[:, 0], losses[:, 2], rtol=0, atol=1e-6)
    assert np.abs(losses[:, 0] - losses[:, 1]).max() > 1e-3


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_a_diverged_proxy_leaves_and_the_others_do_not_notice(poison: float, corpus: Corpus) -> None:
    specs = some_runs(corpus, 3, steps=6)
    undisturbed = train_losses(specs, corpus)
    trainer = StackTrainer(specs, corpus, CPU)
    trainer.advance()
    with torch.no_grad():
        trainer.flat[1, 100] = poison
    _, diverged = trainer.advance()
    assert diverged == [1]
    assert trainer.members == [0, 2]
    for step in range(2, 6):
        losses, diverged = trainer.advance()
        assert diverged == []
        np.testing.assert_allclose(losses, undisturbed[step, [0, 2]], rtol=0, atol=1e-5)


def test_a_stack_whose_last_proxy_diverged_is_empty(corpus: Corpus) -> None:
    trainer = StackTrainer(some_runs(corpus, 1), corpus, CPU)
    with torch.no_grad():
        trainer.flat[0, 0] = float("nan")
    assert trainer.advance()[1] == [0]
    assert trainer.members == []


def test_runs_that_differ_in_more_than_mixture_and_seed_share_no_stack(corpus: Corpus) -> None:
    specs = [*some_runs(corpus, 1, steps=4), *some_runs(corpus, 1, steps=5)]
    with pytest.raises(SpecError, match="equal settings"):
        StackTrainer(specs, corpus, CPU)


def test_what_a_run_was_trained_on_is_reported(corpus: Corpus) -> None:
    (spec,) = some_runs(corpus, 1, steps=5)
    trainer = StackTrainer([spec], corpus, CPU)
    for _ in range(5):
        trainer.advance()
    weights, epochs = trainer.realised(0)
    assert weights == {"a": 0.5, "b": 0.5}  # 20 sequences in all
    windows = {name: (corpus.train_tokens(name) - 1) // 16 for name in "ab"}
    assert epochs == pytest.approx({name: 10 / windows[name] for name in "ab"})
    assert trainer.train_tokens == 5 * 64
