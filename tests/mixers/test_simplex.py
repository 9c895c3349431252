"""Projections against SciPy and against their own optimality conditions; errors that name the constraint."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize

from mixers.epochs import epoch_limits
from mixers.errors import Infeasible, InvalidInput
from mixers.simplex import FeasibleSet, epoch_caps, epochs
from tests.mixers.planted import domains


def random_set(seed: int, k: int) -> FeasibleSet:
    rng = np.random.default_rng(seed)
    lower = rng.uniform(0, 0.8 / k, k)
    return FeasibleSet(domains(k), lower, np.minimum(1.0, lower + rng.uniform(1.0 / k, 0.9, k)))


@given(st.integers(0, 10_000), st.integers(2, 20))
@settings(max_examples=60, deadline=None)
def test_euclidean_projection_satisfies_its_optimality_conditions(seed, k):
    feasible = random_set(seed, k)
    v = np.random.default_rng(seed + 1).normal(0, 2, k)
    p = feasible.project(v)
    assert feasible.contains(p, 1e-9)
    # KKT: v - p is one constant where free, at most it at the upper and at least it at the lower bound.
    free = (p > feasible.lower + 1e-9) & (p < feasible.upper - 1e-9)
    shift = v - p
    if free.any():
        level = shift[free].mean()
        assert np.allclose(shift[free], level, atol=1e-8)
        assert (shift[p >= feasible.upper - 1e-9] >= level - 1e-8).all()
        assert (shift[p <= feasible.lower + 1e-9] <= level + 1e-8).all()


@given(st.integers(0, 10_000), st.integers(2, 20))
@settings(max_examples=60, deadline=None)
def test_kl_projection_is_a_clipped_multiple_of_the_reference(seed, k):
    feasible = random_set(seed, k)
    q = np.random.default_rng(seed + 2).dirichlet(np.full(k, 0.5)) + 1e-9
    p = feasible.kl_project(q)
    assert feasible.contains(p, 1e-9)
    free = (p > feasible.lower + 1e-9) & (p < feasible.upper - 1e-9)
    if free.any():
        ratio = p / q
        level = ratio[free].mean()
        assert np.allclose(ratio[free], level, rtol=1e-6)
        assert (ratio[p >= feasible.upper - 1e-9] <= level * (1 + 1e-6)).all()
        assert (ratio[p <= feasible.lower + 1e-9] >= level * (1 - 1e-6)).all()


def test_kl_projection_matches_a_general_solver():
    feasible, q = random_set(5, 6), np.random.default_rng(5).dirichlet(np.ones(6))
    found = minimize(
        lambda p: float((p * np.log(p / q)).sum()),
        feasible.project(q),
        bounds=list(zip(np.maximum(feasible.lower, 1e-9), feasible.upper, strict=True)),
        constraints={"type": "eq", "fun": lambda p: p.sum() - 1},
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert np.allclose(feasible.kl_project(q), found.x, atol=1e-5)


@given(st.integers(0, 10_000), st.integers(2, 12))
@settings(max_examples=40, deadline=None)
def test_best_vertex_equals_linear_programming(seed, k):
    feasible, cost = random_set(seed, k), np.random.default_rng(seed + 3).normal(size=k)
    known = linprog(cost, A_eq=np.ones((1, k)), b_eq=[1], bounds=list(zip(feasible.lower, feasible.upper, strict=True)))
    assert cost @ feasible.best_vertex(cost) == pytest.approx(known.fun, abs=1e-9)


def test_samples_lie_inside_and_repeat_for_a_seed():
    feasible = random_set(1, 7)
    draws = feasible.sample(500, np.full(7, 0.3), np.random.default_rng(0))
    assert all(feasible.contains(p, 1e-9) for p in draws)
    assert np.array_equal(draws, feasible.sample(500, np.full(7, 0.3), np.random.default_rng(0)))


def test_unconstrained_samples_have_the_dirichlet_mean():
    alpha = np.array([1.0, 2.0, 5.0])
    draws = FeasibleSet.simplex(domains(3)).sample(20_000, alpha, np.random.default_rng(0))
    # The standard error of a mean is at most sqrt(.25 / 9 / 20000) = .0012; six of them fail once in 5e8 runs.
    assert np.allclose(draws.mean(axis=0), alpha / 8, atol=0.0072)


def test_tiny_concentrations_give_corners_not_nan():
    draws = FeasibleSet.simplex(domains(3)).sample(200, np.full(3, 1e-6), np.random.default_rng(0))
    assert np.isfinite(draws).all()
    assert np.allclose(draws.sum(axis=1), 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_weights": {"d0": 0.7, "d1": 0.6}}, "lower bounds sum to 1.3"),
        ({"max_weights": {"d0": 0.1, "d1": 0.1, "d2": 0.1}}, "upper bounds sum to 0.3"),
        ({"min_weights": {"d0": 0.5}, "max_weights": {"d0": 0.2}}, "'d0' must have at least 0.5 and at most 0.2"),
        (
            {"target_tokens": 1e6, "max_epochs": 4},
            "4 epochs of all domains give 2.4e+05 tokens (d2 4 x 3e+04, d1 4 x 2e+04, d0 4 x 1e+04), 7.6e+05 fewer "
            "than the 1e+06 of the run; allow 16.667 epochs, or a run of at most 2.4e+05 tokens",
        ),
        (
            {"target_tokens": 2.5e5, "max_epochs": 2, "max_epochs_each": {"d0": 8}},
            "the epochs allowed of all domains give 1.8e+05 tokens (d0 8 x 1e+04, d2 2 x 3e+04, d1 2 x 2e+04), 7e+04 "
            "fewer than the 2.5e+05 of the run; allow 1.389 times as many epochs of each domain, or a run of at most "
            "1.8e+05 tokens",
        ),
        (
            {"target_tokens": 1e5, "max_epochs_each": {"d0": 2}, "min_weights": {"d0": 0.5}},
            "'d0' must have at least 0.5 and at most 0.2, 0.3 apart: the lower bound of domain 'd0' (at least 0.5) and "
            "the epoch cap of domain 'd0' (2 epochs: at most 0.2); relax it to 5 epochs",
        ),
    ],
)
def test_an_infeasible_set_names_what_cannot_hold(options, message):
    with pytest.raises(Infeasible, match=re.escape(message)):
        FeasibleSet.from_constraints(domains(3, np.array([1e4, 2e4, 3e4])), **options)


def test_an_epoch_cap_that_conflicts_with_a_group_says_how_many_epochs_would_do():
    """d0 and d1 may have 0.1 + 0.2 at one epoch of 1e5 tokens and must have 0.5: 0.2 more of one, or shared."""
    sized = domains(3, np.array([1e4, 2e4, 3e5]))
    groups = {"groups": {"both": ["d0", "d1"]}, "min_groups": {"both": 0.5}}
    with pytest.raises(Infeasible) as refused:
        FeasibleSet.from_constraints(sized, target_tokens=1e5, max_epochs=1, **groups)
    assert "the epoch cap of domain 'd0' (1 epochs: at most 0.1)" in str(refused.value)
    moved = re.findall(r"'(d\d)' \(1 epochs: at most [\d.]+\) by ([\d.]+), to ([\d.]+) epochs", str(refused.value))
    eased = {name: float(passes) for name, _, passes in moved} or {"nothing": 0.0}
    assert FeasibleSet.from_constraints(
        sized, target_tokens=1e5, max_epochs=1, max_epochs_each=eased, **groups
    ).contains(np.array([eased.get("d0", 1) * 0.1, eased.get("d1", 1) * 0.2, 0.5]))


def test_half_an_epoch_cap_and_an_unknown_domain_are_refused():
    with pytest.raises(InvalidInput, match="both target_tokens and max_epochs"):
        FeasibleSet.from_constraints(domains(2), target_tokens=10.0)
    with pytest.raises(InvalidInput, match="'web'; known are d0, d1"):
        FeasibleSet.from_constraints(domains(2), max_weights={"web": 0.5})


def test_epoch_caps_and_epochs_are_inverse():
    sized = domains(3, np.array([10.0, 20.0, np.inf]))
    caps = epoch_caps(sized, 100.0, epoch_limits(sized, 4.0))
    assert caps.tolist() == [0.4, 0.8, 1.0]
    seen = epochs(caps, sized, 100.0)
    assert seen[:2].tolist() == [4.0, 4.0]
    assert np.isnan(seen[2])


def test_the_cap_of_a_single_domain_stands_above_that_of_all():
    sized = domains(3, np.array([10.0, 20.0, 30.0]))
    own = FeasibleSet.from_constraints(sized, target_tokens=100.0, max_epochs=2.0, max_epochs_each={"d0": 7.0})
    assert own.upper.tolist() == pytest.approx([0.7, 0.4, 0.6])
    only = FeasibleSet.from_constraints(sized, target_tokens=100.0, max_epochs_each={"d0": 0.5})
    assert only.upper.tolist() == pytest.approx([0.05, 1.0, 1.0])
    with pytest.raises(InvalidInput, match="max_epochs names domain 'web'; known are d0, d1, d2"):
        FeasibleSet.from_constraints(sized, target_tokens=100.0, max_epochs_each={"web": 1.0})
    with pytest.raises(InvalidInput, match="max_epochs of 'd0' is 0; it must be a positive number"):
        FeasibleSet.from_constraints(sized, target_tokens=100.0, max_epochs_each={"d0": 0})
