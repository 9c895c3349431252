"""Experts against the runs that they are: what a stack, a start in common and an average must leave equal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from proxy_training.corpus_read import Corpus
from proxy_training.errors import CheckpointError, SpecError
from proxy_training.evaluate import evaluate
from proxy_training.expert_averages import average_losses, log_probabilities, validation_of, weights_of
from proxy_training.experts import ExpertPlan, Experts, train_experts
from proxy_training.model import StackedDecoder
from proxy_training.spec import NamedSpec, ProxySpec, Stage
from proxy_training.train import StackTrainer
from tests.proxy_training.text_corpora import make_corpus, texts
from tests.proxy_training.training_cases import STEP_TOKENS, TINY, run_of, tiny_settings

CPU = torch.device("cpu")
NAMES = ("a", "b", "c")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("experts")
    domains = {name: texts(at, 30) for at, name in enumerate(NAMES)}
    return make_corpus(folder, domains, context=16, validation_fraction=0.2)


def plan_of(corpus: Corpus, base_steps: int, steps: int = 6) -> ExpertPlan:
    weights = {"a": 0.5, "b": 0.25, "c": 0.25}
    settings = tiny_settings(corpus, steps=steps)
    return ExpertPlan(settings=settings, base_weights=weights, base_tokens=base_steps * STEP_TOKENS + 1, seed=3)


@pytest.fixture(scope="module")
def experts(corpus: Corpus) -> Experts:
    return train_experts(corpus, plan_of(corpus, base_steps=2), CPU, lambda done, total: None)


def losses_of(trainer: StackTrainer, experts: Experts, corpus: Corpus) -> list[float]:
    (measured,) = trainer.measure(validation_of(experts, corpus), lambda: False)
    assert measured is not None
    return [measured[name].value for name in NAMES]


def averaged(experts: Experts, corpus: Corpus, weights: np.ndarray) -> np.ndarray:
    found = average_losses(experts, weights, validation_of(experts, corpus), CPU)
    return np.array([[row[name].value for name in NAMES] for row in found if row is not None])


def test_without_a_common_start_an_expert_is_the_run_on_its_domain(corpus: Corpus) -> None:
    plan = plan_of(corpus, base_steps=0)
    experts = train_experts(corpus, plan, CPU, lambda done, total: None)
    alone = averaged(experts, corpus, np.eye(3))
    for at, name in enumerate(NAMES):
        trainer = StackTrainer([run_of(plan.settings, {name: 1.0}, seed=3)], corpus, CPU)
        while trainer.step < trainer.steps:
            trainer.advance()
        assert alone[at] == pytest.approx(losses_of(trainer, experts, corpus), abs=1e-5)


def test_an_expert_is_the_base_run_whose_weights_change_to_its_domain(corpus: Corpus, experts: Experts) -> None:
    plan = experts.plan
    assert experts.branched_at_tokens == 2 * STEP_TOKENS
    alone = averaged(experts, corpus, np.eye(3))
    trainer = StackTrainer([run_of(plan.settings, plan.base_weights, seed=3)], corpus, CPU)
    for _ in range(2):
        trainer.advance()
    trainer.change_weights(0, {"c": 1.0})
    while trainer.step < trainer.steps:
        trainer.advance()
    assert alone[2] == pytest.approx(losses_of(trainer, experts, corpus), abs=1e-5)


def test_an_average_is_that_of_the_parameters(corpus: Corpus, experts: Experts) -> None:
    weights = np.array([[0.2, 0.3, 0.5]])
    flat = sum(weight * row for weight, row in zip(weights[0], experts.parameters, strict=True))
    (direct,) = evaluate(StackedDecoder(TINY), torch.tensor(np.array([flat])).float(), validation_of(experts, corpus))
    assert direct is not None
    assert averaged(experts, corpus, weights)[0] == pytest.approx([direct[name].value for name in NAMES], abs=1e-5)


def test_what_they_cost_counts_the_common_start_once(corpus: Corpus) -> None:
    told: list[tuple[int, int]] = []
    experts = train_experts(corpus, plan_of(corpus, base_steps=2), CPU, lambda done, total: told.append((done, total)))
    assert experts.trained_tokens == (2 + 3 * 4) * STEP_TOKENS
    assert told[-1] == (experts.trained_tokens, experts.trained_tokens)
    assert [done for done, _ in told] == sorted({done for done, _ in told})


def test_log_probabilities_add_up_to_the_loss_of_every_expert(corpus: Corpus, experts: Experts) -> None:
    judged = log_probabilities(experts, corpus, CPU)
    assert judged.log_probs.shape == (len(judged.tokens), 3)
    losses = list(average_losses(experts, np.eye(3), validation_of(experts, corpus), CPU))
    for j in range(3):
        for at, name in enumerate(judged.targets):
            own = judged.target == at
            nats = -judged.log_probs[own, j].sum() / judged.tokens[own].sum()
            measured = losses[j]
            assert measured is not None
            assert nats == pytest.approx(measured[name].nats_per_token, abs=1e-6)


def test_experts_are_read_as_they_were_written(tmp_path: Path, experts: Experts) -> None:
    path = tmp_path / "experts.npz"
    experts.save(path)
    read = Experts.load(path)
    assert (read.plan, read.domains, read.branched_at_tokens) == (
        experts.plan,
        experts.domains,
        experts.branched_at_tokens,
    )
    assert np.array_equal(read.parameters, experts.parameters)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(CheckpointError, match="holds no experts"):
        Experts.load(path)
    with pytest.raises(CheckpointError, match="there are no experts"):
        Experts.load(tmp_path / "none.npz")


def named(spec: ProxySpec) -> NamedSpec:
    return NamedSpec(run_id="run-1", spec=spec)


def test_runs_that_they_cannot_stand_for_are_named(corpus: Corpus, experts: Experts) -> None:
    settings = experts.plan.settings
    fine = run_of(settings, {"c": 0.75, "a": 0.25})
    assert weights_of(experts, [named(fine)]).tolist() == [[0.25, 0, 0.75]]
    longer = tiny_settings(corpus, steps=7)
    with pytest.raises(SpecError, match="'run-1' has train_tokens 448; the experts have 384"):
        weights_of(experts, [named(run_of(longer, {"a": 1.0}))])
    with pytest.raises(SpecError, match="domain 'law'; there are experts of a, b, c"):
        weights_of(experts, [named(run_of(settings, {"law": 1.0}))])
    tokens = settings.train_tokens
    stages = (
        Stage(from_token=0, to_token=64, weights={"a": 1.0}),
        Stage(from_token=64, to_token=tokens, weights={"b": 1.0}),
    )
    with pytest.raises(SpecError, match="changes its weights on the way"):
        weights_of(experts, [named(ProxySpec(settings=settings, stages=stages))])


def test_a_common_start_as_long_as_the_run_is_refused(corpus: Corpus) -> None:
    plan = plan_of(corpus, base_steps=6)
    with pytest.raises(SpecError, match=r"must lie in 0 \.\. 383"):
        train_experts(corpus, plan, CPU, lambda done, total: None)


def test_experts_of_another_corpus_are_refused(tmp_path: Path, experts: Experts) -> None:
    other = make_corpus(tmp_path, {name: texts(at + 1, 30) for at, name in enumerate(NAMES)}, context=16)
    with pytest.raises(SpecError, match="were trained on the corpus"):
        log_probabilities(experts, other, CPU)


def test_a_loss_that_is_no_number_is_none(corpus: Corpus, experts: Experts) -> None:
    broken = Experts(experts.plan, experts.domains, 0, np.full_like(experts.parameters, np.nan))
    assert list(average_losses(broken, np.eye(3)[:1], validation_of(broken, corpus), CPU)) == [None]
    with pytest.raises(SpecError, match="the expert of domain 'a' has diverged"):
        log_probabilities(broken, corpus, CPU)
    assert isinstance(next(average_losses(experts, np.eye(3), validation_of(experts, corpus), CPU)), dict)


def test_an_expert_that_guesses_has_diverged(corpus: Corpus, experts: Experts) -> None:
    guessing = Experts(experts.plan, experts.domains, 0, np.zeros_like(experts.parameters))
    assert list(average_losses(guessing, np.eye(3)[:1], validation_of(guessing, corpus), CPU)) == [None]
    with pytest.raises(SpecError, match="the expert of domain 'a' has diverged: every token is given the same"):
        log_probabilities(guessing, corpus, CPU)
