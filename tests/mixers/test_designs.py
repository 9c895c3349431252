"""What every design of the registry must keep, and what each is for."""

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from mixers.designs import DESIGNS
from mixers.errors import InvalidInput
from mixers.priors import temperature
from mixers.simplex import FeasibleSet
from tests.mixers import planted

every_design = pytest.mark.parametrize("name", DESIGNS)


def suggest(name, count, feasible, runs=None, seed=0):
    proposals = DESIGNS[name].suggest(count, feasible, runs, None, np.random.default_rng(seed))
    return np.stack([proposal.p for proposal in proposals]), proposals


def capped(k: int = 5) -> FeasibleSet:
    return FeasibleSet.from_constraints(planted.domains(k), max_weights={"d1": 0.2}, min_weights={"d0": 0.05})


@every_design
def test_proposals_are_as_many_as_asked_feasible_different_and_explained(name):
    p, proposals = suggest(name, 30, capped())
    assert len(p) == 30
    assert all(capped().contains(row, 1e-9) for row in p)
    assert pdist(p, "cityblock").min() > 1e-6
    assert all(proposal.why for proposal in proposals)


@every_design
def test_the_same_seed_proposes_the_same(name):
    assert np.array_equal(suggest(name, 10, capped())[0], suggest(name, 10, capped())[0])
    assert not np.array_equal(suggest(name, 10, capped())[0], suggest(name, 10, capped(), seed=1)[0])


@every_design
def test_measured_mixtures_are_not_proposed_again(name):
    first, _ = suggest(name, 15, capped())
    runs = planted.observe(first, np.ones((15, 1)))
    again, _ = suggest(name, 15, capped(), runs)
    assert np.abs(first[:, None] - again[None]).sum(axis=2).min() > 1e-6


@every_design
def test_a_set_of_one_point_is_proposed_as_often_as_asked(name):
    point = FeasibleSet(planted.domains(2), np.array([0.3, 0.7]), np.array([0.3, 0.7]))
    p, _ = suggest(name, 3, point)
    assert np.allclose(p, [0.3, 0.7])


def test_dirichlet_draws_have_corners_and_centre_and_the_tempered_prior_as_mean():
    feasible = FeasibleSet.simplex(planted.domains(4))
    p, _ = suggest("dirichlet", 4000, feasible)
    # A weight has a standard deviation of at most .5; over 4000 draws .008, times 5.
    assert np.allclose(p.mean(axis=0), temperature(feasible.domains, 0.5), atol=0.04)
    assert p.max() > 0.99
    assert (p.max(axis=1) < 0.5).any()


def test_a_cover_of_more_points_than_it_can_compare_is_refused():
    with pytest.raises(InvalidInput, match="at most 1000 mixtures, not 1001"):
        suggest("simplex_cover", 1001, capped())


def test_a_cover_is_more_even_than_random_draws():
    feasible = FeasibleSet.simplex(planted.domains(3))
    cover, _ = suggest("simplex_cover", 20, feasible)
    draws = np.random.default_rng(0).dirichlet(np.full(3, 1.5), size=20)
    assert pdist(cover).min() > 3 * pdist(draws).min()
