"""Groups, frozen domains and bounded changes: projections and vertices against SciPy, conflicts by name."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize

from mixers.constraints import ConstraintKind
from mixers.errors import Infeasible, InvalidInput
from mixers.simplex import FeasibleSet
from tests.mixers.planted import domains


def cut_set(seed: int, k: int, change: bool = True) -> FeasibleSet:
    """Bounds, three overlapping groups and a total change around a mixture that satisfies all of them."""
    rng = np.random.default_rng(seed)
    inside, current = rng.dirichlet(np.ones(k)), rng.dirichlet(np.ones(k))
    groups = {f"g{i}": [f"d{j}" for j in np.flatnonzero(rng.random(k) < 0.5)] or ["d0"] for i in range(3)}
    share = {name: float(sum(inside[int(d[1:])] for d in members)) for name, members in groups.items()}
    moved = float(np.abs(current - inside).sum()) / 2 + rng.uniform(0, 0.02)
    return FeasibleSet.from_constraints(
        domains(k),
        max_weights={"d0": min(1.0, float(inside[0]) + 0.05)},
        min_weights={"d1": float(inside[1]) / 2},
        groups=groups,
        min_groups={name: max(0.0, value - rng.uniform(0, 0.1)) for name, value in share.items()},
        max_groups={name: min(1.0, value + rng.uniform(0, 0.1)) for name, value in share.items()},
        current=current if change else None,
        max_total_change=moved if change else None,
    )


def slsqp(feasible: FeasibleSet, value, start: np.ndarray) -> np.ndarray:
    """A general solver over (p, u) with u >= |p - current|."""
    k = len(start)
    members, change = feasible.groups.members.astype(float), feasible.change
    rows = [
        {"type": "eq", "fun": lambda x: x[:k].sum() - 1},
        {"type": "ineq", "fun": lambda x: members @ x[:k] - feasible.groups.lower},
        {"type": "ineq", "fun": lambda x: feasible.groups.upper - members @ x[:k]},
    ]
    bounds = list(zip(np.maximum(feasible.lower, 1e-10), feasible.upper, strict=True))
    if change is not None:
        rows += [
            {"type": "ineq", "fun": lambda x: x[k:] - (x[:k] - change.current)},
            {"type": "ineq", "fun": lambda x: x[k:] + (x[:k] - change.current)},
            {"type": "ineq", "fun": lambda x: 2 * change.at_most - x[k:].sum()},
        ]
        bounds += [(0, 1)] * k
        start = np.append(start, np.abs(start - change.current))
    options = {"ftol": 1e-15, "maxiter": 500}
    return minimize(lambda x: value(x[:k]), start, bounds=bounds, constraints=rows, options=options).x[:k]


@given(st.integers(0, 10_000), st.integers(3, 24), st.booleans())
@settings(max_examples=40, deadline=None)
def test_projections_and_samples_satisfy_every_constraint(seed, k, change):
    feasible, rng = cut_set(seed, k, change), np.random.default_rng(seed + 1)
    assert feasible.inside(feasible.kl_project(rng.dirichlet(np.full(k, 0.3), 20) + 1e-9), 1e-9).all()
    assert feasible.contains(feasible.project(rng.normal(0, 1, k)), 1e-9)
    assert feasible.inside(feasible.sample(20, np.ones(k), rng), 1e-9).all()


@pytest.mark.parametrize("change", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_projections_match_a_general_solver(seed, change):
    feasible, rng = cut_set(seed, 6, change), np.random.default_rng(seed)
    q, v = rng.dirichlet(np.ones(6)), rng.normal(0.2, 0.3, 6)
    start = feasible.best_vertex(np.zeros(6))

    def divergence(p: np.ndarray) -> float:
        return float((p * np.log(np.maximum(p, 1e-12) / q)).sum())

    def distance(p: np.ndarray) -> float:
        return float(((p - v) ** 2).sum())

    for ours, value in ((feasible.kl_project(q), divergence), (feasible.project(v), distance)):
        known = slsqp(feasible, value, start)
        assert value(ours) <= value(known) + 1e-7
        assert np.allclose(ours, known, atol=2e-4)


def test_a_projection_leaves_what_is_inside_where_it_is():
    feasible = cut_set(3, 8)
    p = feasible.sample(5, np.ones(8), np.random.default_rng(0))
    assert np.allclose(feasible.kl_project(p), p, atol=1e-8)
    assert np.allclose(feasible.project(p[0]), p[0], atol=1e-9)


@given(st.integers(0, 10_000), st.integers(3, 12))
@settings(max_examples=25, deadline=None)
def test_the_best_vertex_of_grouped_sets_is_the_linear_program(seed, k):
    feasible, cost = cut_set(seed, k, change=False), np.random.default_rng(seed + 3).normal(size=k)
    members = feasible.groups.members.astype(float)
    known = linprog(
        cost,
        np.vstack([members, -members]),
        np.append(feasible.groups.upper, -feasible.groups.lower),
        np.ones((1, k)),
        [1],
        list(zip(feasible.lower, feasible.upper, strict=True)),
    )
    best = feasible.best_vertex(cost)
    assert feasible.contains(best, 1e-8)
    assert cost @ best == pytest.approx(known.fun, abs=1e-7)


def test_a_frozen_domain_keeps_its_weight_and_the_current_one_by_default():
    current = np.array([0.1, 0.2, 0.3, 0.4])
    feasible = FeasibleSet.from_constraints(domains(4), frozen={"d0": 0.25, "d2": None}, current=current)
    draws = feasible.sample(50, np.ones(4), np.random.default_rng(0))
    assert np.allclose(draws[:, 0], 0.25)
    assert np.allclose(draws[:, 2], 0.3)
    assert {one.kind for one in feasible.stated} == {ConstraintKind.FROZEN}


def test_changes_are_bounded_one_by_one_and_in_total():
    current = np.array([0.1, 0.2, 0.3, 0.4])
    single = FeasibleSet.from_constraints(domains(4), current=current, max_change=0.05)
    assert np.allclose(single.best_vertex(np.array([0.0, 1.0, 2.0, 3.0])), [0.15, 0.25, 0.25, 0.35])
    total = FeasibleSet.from_constraints(domains(4), current=current, max_total_change=0.1)
    # A tenth of the mixture moves from the dearest domain to the cheapest.
    assert np.allclose(total.best_vertex(np.array([0.0, 1.0, 2.0, 3.0])), [0.2, 0.2, 0.3, 0.3], atol=1e-8)
    assert not total.contains(np.array([0.25, 0.2, 0.3, 0.25]))


def test_a_closed_group_closes_its_domains():
    feasible = FeasibleSet.from_constraints(domains(4), groups={"g": ["d0", "d1"]}, max_groups={"g": 0.0})
    p = feasible.kl_project(np.full(4, 0.25))
    assert np.allclose(p, [0, 0, 0.5, 0.5], atol=1e-10)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"groups": {"code": ["d0", "d1"]}, "min_groups": {"code": 0.5}, "max_weights": {"d0": 0.1, "d1": 0.2}},
            ["lower bound of group 'code'", "upper bound of domain 'd0'", "upper bound of domain 'd1'", "miss by 0.2"],
        ),
        (
            {"groups": {"a": ["d0", "d1"], "b": ["d2", "d3"]}, "max_groups": {"a": 0.3, "b": 0.4}},
            ["upper bound of group 'a'", "upper bound of group 'b'", "miss by 0.3"],
        ),
        (
            {"current": np.array([0.7, 0.1, 0.1, 0.1]), "max_total_change": 0.1, "max_weights": {"d0": 0.5}},
            ["upper bound of domain 'd0'", "total change", "miss by 0.1"],
        ),
        ({"frozen": {"d0": 0.6, "d1": 0.7}}, ["lower bounds sum to 1.3", "frozen weight of domain 'd0'"]),
        (
            {"frozen": {"d0": 0.6}, "max_weights": {"d0": 0.4}},
            [
                "'d0' must have at least 0.6 and at most 0.4",
                "frozen weight of domain 'd0'",
                "upper bound of domain 'd0'",
            ],
        ),
    ],
)
def test_constraints_that_conflict_are_named_with_what_they_miss(options, words):
    with pytest.raises(Infeasible) as caught:
        FeasibleSet.from_constraints(domains(4), **options)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_constraints_that_have_nothing_to_do_with_a_conflict_are_not_named():
    groups = {"a": ["d0", "d1"], "b": ["d2", "d3"], "idle": ["d0", "d3"]}
    with pytest.raises(Infeasible) as caught:
        FeasibleSet.from_constraints(
            domains(4), groups=groups, max_groups={"a": 0.3, "b": 0.4, "idle": 0.9}, min_weights={"d1": 0.01}
        )
    assert "idle" not in str(caught.value)
    assert "'d1'" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_groups": {"code": 0.1}}, "group 'code'; known are none"),
        ({"groups": {"code": ["d9"]}, "min_groups": {"code": 0.1}}, "group 'code' names domain 'd9'; known are d0"),
        ({"groups": {"code": []}, "max_groups": {"code": 0.1}}, "has a bound but no domain"),
        ({"groups": {"code": ["d0"]}, "max_groups": {"code": 1.5}}, "must lie in 0 .. 1"),
        ({"frozen": {"web": 0.1}}, "'web'; known are d0"),
        ({"frozen": {"d0": None}}, "needs the current mixture"),
        ({"max_change": 0.1}, "needs the current mixture"),
    ],
)
def test_wrong_names_and_numbers_are_refused(options, message):
    with pytest.raises(InvalidInput, match=message):
        FeasibleSet.from_constraints(domains(3), **options)
