"""Mixtures that need no run, and the entropies that one of them is made from."""

import numpy as np
import pytest

from mixers import priors
from mixers.entropies import TextEntropies, shannon_entropy, von_neumann_entropy
from mixers.errors import InvalidInput
from tests.mixers.planted import domains


def test_unimax_equals_the_algorithm_of_the_paper():
    sizes, budget, cap = np.array([5.0, 1.0, 50.0, 8.0]), 40.0, 2.0
    # Chung et al. 2023: by size, u = budget left / domains left, allot min(u, cap * size).
    allotted, left = np.zeros(4), budget
    for rank, j in enumerate(np.argsort(sizes)):
        allotted[j] = min(left / (4 - rank), cap * sizes[j])
        left -= allotted[j]
    assert np.allclose(priors.unimax(domains(4, sizes), budget, cap), allotted / allotted.sum(), atol=1e-12)


def test_temperature_runs_from_uniform_to_natural():
    d = domains(3)
    assert np.allclose(priors.temperature(d, 0.0), priors.uniform(d))
    assert np.allclose(priors.temperature(d, 1.0), priors.natural(d))


def test_the_entropy_mixture_is_proportional_to_the_entropies():
    assert priors.entropy(domains(3), np.array([1.0, 3.0, 0.0])).tolist() == [0.25, 0.75, 0.0]
    with pytest.raises(InvalidInput, match="'d1' is -1"):
        priors.entropy(domains(2), np.array([1.0, -1.0]))


def test_joint_entropy_is_shannon_plus_conditional():
    rng = np.random.default_rng(0)
    chain = rng.dirichlet(np.full(5, 0.3), size=5)
    tokens = [0]
    for _ in range(2000):
        tokens.append(int(rng.choice(5, p=chain[tokens[-1]])))
    found = TextEntropies.of([np.array(tokens)])
    counts = np.zeros((5, 5), dtype=np.int64)
    np.add.at(counts, (tokens[:-1], tokens[1:]), 1)
    share = counts / counts.sum()
    # Each by its own definition: the chain rule must come out, not go in.
    given = share / share.sum(axis=1, keepdims=True)
    conditional = -(share[share > 0] * np.log(given[share > 0])).sum()
    assert found.conditional == pytest.approx(conditional, abs=1e-12)
    assert found.shannon == pytest.approx(shannon_entropy(np.bincount(tokens[:-1])), abs=1e-12)
    assert found.joint == pytest.approx(shannon_entropy(counts.ravel()), abs=1e-12)
    assert found.joint == pytest.approx(found.shannon + found.conditional, abs=1e-12)
    of_counts = TextEntropies.of_pair_counts(counts)
    assert (of_counts.shannon, of_counts.conditional) == pytest.approx((found.shannon, found.conditional), abs=1e-12)


def test_what_always_follows_says_nothing_and_what_never_repeats_says_log_k():
    cycle = TextEntropies.of([np.tile(np.arange(4), 25)])
    assert cycle.conditional == pytest.approx(0.0, abs=1e-12)
    assert cycle.shannon == pytest.approx(np.log(4), abs=1e-3)  # 99 pairs: not quite equal shares
    assert shannon_entropy(np.full(7, 3)) == pytest.approx(np.log(7))


def test_no_pair_spans_two_documents():
    apart = TextEntropies.of([np.array([7, 7, 7]), np.array([9]), np.array([8, 8, 8])])
    assert apart.conditional == pytest.approx(0.0, abs=1e-12)
    assert apart.shannon == pytest.approx(np.log(2))
    with pytest.raises(InvalidInput, match="two tokens"):
        TextEntropies.of([np.array([1]), np.array([2])])


def test_von_neumann_entropy_of_orthonormal_embeddings_is_log_k():
    basis = np.linalg.qr(np.random.default_rng(1).normal(size=(9, 9)))[0][:6]
    assert von_neumann_entropy(basis * np.arange(1, 7)[:, None]) == pytest.approx(np.log(6))
    assert von_neumann_entropy(np.repeat(basis, 3, axis=0)) == pytest.approx(np.log(6))  # more rows than columns
    assert von_neumann_entropy(np.ones((4, 3))) == pytest.approx(0.0, abs=1e-12)
    with pytest.raises(InvalidInput, match="length above 0"):
        von_neumann_entropy(np.zeros((2, 2)))


def test_counts_without_a_positive_one_are_refused():
    with pytest.raises(InvalidInput, match="one of them positive"):
        shannon_entropy(np.zeros(3))
