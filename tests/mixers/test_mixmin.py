"""MixMin against expectation maximisation and its own optimality conditions."""

import json

import numpy as np
import pytest

from mixers.errors import InvalidInput
from mixers.mixmin import DomainModels, mixmin
from mixers.simplex import FeasibleSet
from mixers.types import Scale, SolveStatus
from tests.mixers.planted import domains

RNG = np.random.default_rng(0)


def models(n: int = 300, k: int = 4, t: int = 1, seed: int = 0, equal_lengths: bool = True) -> DomainModels:
    """Sequences of t targets, each from its own mixture of k categorical domains; the models know their domain."""
    rng = np.random.default_rng(seed)
    words = rng.dirichlet(np.full(30, 0.3), size=k) * 0.98 + 0.02 / 30
    mixtures = rng.dirichlet(np.full(k, 0.7), size=t)
    target = np.arange(n) % t
    lengths = np.full(n, 3) if equal_lengths else rng.integers(1, 12, n)
    log_probs = np.empty((n, k))
    for x in range(n):
        source = rng.choice(k, p=mixtures[target[x]])
        log_probs[x] = np.log(words[:, rng.choice(30, p=words[source], size=lengths[x])]).sum(axis=1)
    names = tuple(f"t{i}" for i in range(t))
    return DomainModels(domains(k).names, names, log_probs, lengths.astype(float), target)


def test_without_lengths_it_is_what_expectation_maximisation_finds():
    law = models()
    likelihood = np.exp(law.log_probs - law.log_probs.max(axis=1, keepdims=True))
    weights = np.full(4, 0.25)
    for _ in range(20_000):
        weights = weights * (likelihood / (likelihood @ weights)[:, None]).mean(axis=0)
    found = mixmin(law, FeasibleSet.simplex(domains(4)), RNG)
    assert found.status == SolveStatus.OPTIMAL
    assert np.allclose(found.weights, weights, atol=1e-4)
    # KKT: mean of P_i / sum_j p_j P_j is 1 on the support and at most 1 off it.
    score = (likelihood / (likelihood @ found.weights)[:, None]).mean(axis=0)
    assert np.allclose(score[found.weights > 1e-6], 1, atol=1e-4)
    assert score.max() < 1 + 1e-4


def test_the_duality_gap_bounds_what_any_mixture_could_gain():
    law = models(equal_lengths=False, seed=1)
    found = mixmin(law, FeasibleSet.simplex(domains(4)), RNG)
    others = law.predict(np.random.default_rng(2).dirichlet(np.ones(4), 5000), Scale.unknown()).mean
    assert found.residual <= 1e-5
    assert found.value <= others.min() + found.residual
    assert found.value == pytest.approx(law.value_and_gradient(found.weights, Scale.unknown())[0][0])


def test_the_worst_of_the_targets_is_lowered_at_the_cost_of_their_mean():
    law = models(400, 4, 3, seed=3, equal_lengths=False)
    simplex = FeasibleSet.simplex(domains(4))
    mean, worst = mixmin(law, simplex, RNG), mixmin(law, simplex, RNG, worst=True)
    of_mean, of_worst = (law.predict(found.weights, Scale.unknown()).mean for found in (mean, worst))
    assert worst.status == SolveStatus.OPTIMAL
    assert worst.value == pytest.approx(of_worst.max())
    assert of_worst.max() < of_mean.max() - 1e-4
    assert of_mean.mean() < of_worst.mean()
    others = law.predict(np.random.default_rng(4).dirichlet(np.ones(4), 5000), Scale.unknown()).mean
    assert worst.value <= others.max(axis=1).min() + 1e-6


def test_it_stays_inside_the_feasible_set():
    law = models(seed=5)
    free = mixmin(law, FeasibleSet.simplex(domains(4)), RNG).weights
    upper = np.ones(4)
    upper[np.argmax(free)] = free.max() / 2
    capped = mixmin(law, FeasibleSet(domains(4), np.zeros(4), upper), RNG)
    assert capped.status == SolveStatus.OPTIMAL
    assert capped.weights[np.argmax(free)] == pytest.approx(free.max() / 2, abs=1e-6)


def test_gradients_equal_finite_differences():
    law = models(seed=6, t=2, equal_lengths=False)
    p, step = np.array([0.4, 0.3, 0.2, 0.1]), 1e-6
    value, gradient = law.value_and_gradient(p, Scale.unknown())
    assert np.allclose(value, law.predict(p, Scale.unknown()).mean)
    for j in range(4):
        ahead, behind = (law.value_and_gradient(p + s * step * np.eye(4)[j], Scale.unknown())[0] for s in (1, -1))
        assert np.allclose(gradient[:, j], (ahead - behind) / (2 * step), atol=1e-6)


def test_long_sequences_neither_vanish_nor_overflow():
    law = models(seed=7)
    long = DomainModels(law.domain_names, law.target_names, law.log_probs * 2000, law.tokens * 2000, law.target)
    found = mixmin(long, FeasibleSet.simplex(domains(4)), RNG)
    assert np.isfinite(found.value)
    # So long a sequence belongs to one domain for certain: the weights are the shares of the sequences.
    shares = np.bincount(law.log_probs.argmax(axis=1), minlength=4) / len(law.log_probs)
    assert np.allclose(found.weights, shares, atol=0.02)


def test_it_survives_json_and_refuses_what_does_not_fit():
    law = models(30, 3, 2)
    again = DomainModels.from_dict(json.loads(json.dumps(law.to_dict())))
    p = np.full((2, 3), 1 / 3)
    assert np.array_equal(law.predict(p, Scale.unknown()).mean, again.predict(p, Scale.unknown()).mean)
    with pytest.raises(InvalidInput, match="2 domains"):
        DomainModels(("a", "b"), law.target_names, law.log_probs, law.tokens, law.target)
    with pytest.raises(InvalidInput, match="each of the 3 targets"):
        DomainModels(law.domain_names, ("a", "b", "c"), law.log_probs, law.tokens, law.target)
    with pytest.raises(InvalidInput, match="finite"):
        DomainModels(law.domain_names, law.target_names, law.log_probs - np.inf, law.tokens, law.target)
