"""Training steps: stacked equals alone, and a proxy that breaks leaves the others as they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.stacked_training import train_plain
from proxy_training import train
from proxy_training.corpus_read import Corpus
from proxy_training.errors import SpecError
from proxy_training.spec import ProxySpec
from proxy_training.train import StackTrainer
from tests.proxy_training.text_corpora import make_corpus, texts
from tests.proxy_training.training_cases import TINY, run_of, some_runs, tiny_settings

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder: Path = tmp_path_factory.mktemp("train")
    return make_corpus(folder, {"a": texts(0, 30), "b": texts(1, 30)}, context=16, validation_fraction=0.2)


def train_losses(specs: list[ProxySpec], corpus: Corpus) -> np.ndarray:
    """(steps, K)"""
    trainer = StackTrainer(specs, corpus, CPU)
    return np.stack([trainer.advance()[0] for _ in range(trainer.steps)])


def held(trainer: StackTrainer) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Parameters and moments."""
    return trainer.flat.detach(), trainer.optimizer.first, trainer.optimizer.second


KINDS = pytest.mark.parametrize(
    "kind",
    [{"feed_forward": hidden, "tied_head": tied} for hidden in ("swiglu", "gelu") for tied in (True, False)],
    ids=["swiglu, tied", "swiglu, untied", "gelu, tied", "gelu, untied"],
)


@KINDS
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("count", [1, 5])
def test_a_stack_trains_each_proxy_as_it_would_train_alone(
    count: int, precision: str, kind: dict[str, Any], corpus: Corpus
) -> None:
    specs = some_runs(corpus, count, steps=12, model=TINY.model_copy(update=kind), precision=precision)
    stacked = train_losses(specs, corpus)
    for row, spec in enumerate(specs):
        np.testing.assert_allclose(stacked[:, row], train_losses([spec], corpus)[:, 0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_members_that_are_no_longer_wanted_change_nothing_for_those_that_stay(precision: str, corpus: Corpus) -> None:
    specs = some_runs(corpus, 5, steps=9, precision=precision)
    trainer = StackTrainer(specs, corpus, CPU)
    alone = train_losses([specs[3]], corpus)[:, 0]
    for step in range(9):
        if step in (3, 6):
            trainer.keep(trainer.members[1::2] if step == 3 else [3])
        losses, _ = trainer.advance()
        assert losses[trainer.members.index(3)].item() == pytest.approx(alone[step], abs=1e-5)
    assert trainer.members == [3]


@KINDS
def test_training_is_that_of_the_plain_loop_that_everyone_writes(kind: dict[str, Any], corpus: Corpus) -> None:
    optimizer = {"learning_rate": 1e-2, "grad_clip": 0.5}
    (spec,) = some_runs(corpus, 1, steps=10, model=TINY.model_copy(update=kind), optimizer=optimizer)
    assert train_losses([spec], corpus)[-1, 0] == pytest.approx(train_plain(spec, corpus), abs=1e-4)


def test_training_in_bf16_ends_near_training_in_fp32(corpus: Corpus) -> None:
    by_precision = {}
    for precision in ("fp32", "bf16"):
        specs = some_runs(corpus, 3, steps=60, precision=precision)
        by_precision[precision] = train_losses(specs, corpus)[-5:].mean(axis=0)
    # The gap was at most .0016 nats; runs that differ in nothing but their seeds are some .02 apart.
    np.testing.assert_allclose(by_precision["bf16"], by_precision["fp32"], rtol=0, atol=0.005)


def test_precision_is_fp32_on_a_cpu_unless_bf16_is_asked_for(corpus: Corpus) -> None:
    for asked, meant in {"auto": "fp32", "fp32": "fp32", "bf16": "bf16"}.items():
        trainer = StackTrainer(some_runs(corpus, 1, precision=asked), corpus, CPU)
        trainer.advance()
        assert trainer.precision == meant
        assert {tensor.dtype for tensor in held(trainer)} == {torch.float32}


def test_runs_with_random_numbers_of_their_own_start_from_weights_of_their_own(corpus: Corpus) -> None:
    settings = tiny_settings(corpus, random_numbers="independent")
    specs = [run_of(settings, {"a": share, "b": 1 - share}) for share in (0.3, 0.6)]
    flat = StackTrainer(specs, corpus, CPU).flat
    assert not torch.equal(flat[0], flat[1])


def test_where_looking_is_expensive_a_proxy_that_was_ill_once_leaves_at_the_next_look(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(train._LOOK_EVERY, "cpu", 4)
    specs = some_runs(corpus, 3, steps=6)
    undisturbed = train_losses(specs, corpus)
    trainer, left = StackTrainer(specs, corpus, CPU), []
    for step in range(6):
        with torch.no_grad():  # ill in one step only, as when a norm overflows
            trainer.flat[1, 0] += float("nan") if step == 1 else 0.0
        losses, diverged = trainer.advance()
        if step == 1:
            trainer.restore(*(saved.nan_to_num() for saved in held(trainer)), step=trainer.step)
        left.append(diverged)
        np.testing.assert_allclose(losses[[0, -1]], undisturbed[step, [0, 2]], rtol=0, atol=1e-5)
    assert left == [[], [], [], [1], [], []]


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
