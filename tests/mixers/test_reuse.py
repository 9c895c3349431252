"""Mixture reuse: the published example, caps and constraints carried over, and what a change of domains leaves."""

import numpy as np
import pytest

from mixers.domain_updates import add_domains, partition_domain, remove_domains, revise_domains
from mixers.errors import Infeasible, InvalidInput
from mixers.laws.log_linear import LogLinear
from mixers.reuse import Reuse, coupling
from mixers.simplex import FeasibleSet, epochs
from mixers.types import Domains, Observations, Targets
from tests.mixers import planted

SET = Domains(("a", "new", "b", "c"), np.array([1.0, 1, 1, 1]), np.array([10.0, 80.0, 10.0, 80.0]))
REUSE = Reuse(SET, ("a", "b", "c"), np.array([1.0, 1.0, 2.0]))
RNG = np.random.default_rng(0)


def test_the_published_example_expands():
    domains = Domains(("a", "b", "c", "new"))
    reuse = Reuse(domains, ("a", "b", "c"), np.array([0.25, 0.25, 0.5]))
    assert np.allclose(reuse.expand(np.array([0.4, 0.6])), [0.1, 0.1, 0.2, 0.6])


def test_collapse_undoes_expand_in_any_order_of_the_domains():
    r = RNG.dirichlet(np.ones(2), size=7)
    p = REUSE.expand(r)
    assert np.allclose(p[:, [0, 2, 3]] / r[:, :1], [0.25, 0.25, 0.5])
    assert np.allclose(REUSE.collapse(p), r)
    assert REUSE.collapsed.names == ("reused", "new")
    assert np.allclose(REUSE.collapsed.prior, [0.75, 0.25])
    assert REUSE.swarm_size == 9  # 3 (1 + 2)


def test_a_mixture_freezes_its_own_ratios():
    reuse = Reuse.of_mixture(SET, np.array([0.2, 0.5, 0.1, 0.2]), ["new"])
    assert reuse.frozen == ("a", "b", "c")
    assert np.allclose(reuse.ratios, [0.4, 0.2, 0.4])


def test_an_epoch_cap_on_the_collapsed_set_keeps_that_of_every_domain():
    tokens, cap = 100.0, 2.0
    whole = FeasibleSet.from_constraints(SET, target_tokens=tokens, max_epochs=cap)
    collapsed = REUSE.collapse_feasible(whole)
    # rho <= min_j k N_j / (R p~_j) = min(2 * 10 / 25, 2 * 10 / 25, 2 * 80 / 50)
    assert collapsed.upper[0] == pytest.approx(0.8)
    by_tokens = FeasibleSet.from_constraints(REUSE.collapsed, target_tokens=tokens, max_epochs=cap)
    assert np.allclose(by_tokens.upper, collapsed.upper)
    most = REUSE.expand(np.array([0.8, 0.2]))
    assert whole.contains(most)
    assert epochs(most, SET, tokens).max() == pytest.approx(cap)
    assert not whole.contains(REUSE.expand(np.array([0.81, 0.19])))


def test_the_collapsed_set_allows_just_what_the_whole_set_allows_at_the_frozen_ratios():
    whole = FeasibleSet.from_constraints(
        SET,
        min_weights={"a": 0.05},
        max_weights={"new": 0.7, "c": 0.4},
        groups={"frozen pair": ["a", "c"], "open": ["new"], "everything frozen": ["a", "b", "c"]},
        min_groups={"frozen pair": 0.3, "everything frozen": 0.2},
        max_groups={"open": 0.65},
        current=np.array([0.1, 0.6, 0.1, 0.2]),
        max_total_change=0.25,
    )
    collapsed = REUSE.collapse_feasible(whole)
    r = np.stack([np.linspace(0, 1, 501), 1 - np.linspace(0, 1, 501)], axis=1)
    allowed = collapsed.inside(r)
    assert 0 < allowed.sum() < 501
    assert np.array_equal(allowed, whole.inside(REUSE.expand(r)))


def test_bounds_that_the_frozen_ratios_cannot_keep_are_named():
    with pytest.raises(Infeasible, match=r"'a' asks for at least 0\.8 .* 'b' allows 0\.4"):
        REUSE.collapse_feasible(FeasibleSet.from_constraints(SET, min_weights={"a": 0.2}, max_weights={"b": 0.1}))
    mixed = FeasibleSet.from_constraints(SET, groups={"g": ["a", "new"]}, max_groups={"g": 0.5})
    with pytest.raises(InvalidInput, match="group 'g' holds affected domains and a part of the frozen ones"):
        REUSE.collapse_feasible(mixed)


def test_runs_that_keep_the_ratios_are_runs_on_the_collapsed_set():
    r = RNG.dirichlet(np.ones(2), size=20)
    losses = RNG.normal(size=(20, 1))
    rounded = np.round(REUSE.expand(r), 3)
    runs = Observations(SET, Targets(("t",)), rounded / rounded.sum(axis=1, keepdims=True), losses)
    collapsed = REUSE.collapse_runs(runs)
    assert collapsed.domains == REUSE.collapsed
    assert np.allclose(collapsed.p, r, atol=3e-3)
    assert np.array_equal(collapsed.losses, losses)
    assert collapsed.run_ids == runs.run_ids


def test_a_run_that_breaks_the_ratios_is_named():
    p = np.array([REUSE.expand(np.array([0.4, 0.6])), [0.2, 0.6, 0.0, 0.2], [0.0, 1.0, 0.0, 0.0]])
    runs = Observations(SET, Targets(("t",)), p, np.ones((3, 1)))
    with pytest.raises(InvalidInput, match=r"'a' in row 1 is 0\.2; the frozen ratios ask for 0\.1"):
        REUSE.collapse_runs(runs)
    assert len(REUSE.collapse_runs(runs.rows(np.array([0, 2])))) == 2  # without frozen domains nothing is broken


def test_what_cannot_be_frozen_is_refused():
    with pytest.raises(InvalidInput, match="'x'; known are a, new, b, c"):
        Reuse(SET, ("x",), np.ones(1))
    with pytest.raises(InvalidInput, match="one of them positive"):
        Reuse(SET, ("a",), np.zeros(1))
    with pytest.raises(InvalidInput, match="another name"):
        Reuse(SET, ("a",), np.ones(1), virtual="new")


def test_coupling_is_the_published_formula_and_finds_the_coupled_domain():
    rng = np.random.default_rng(1)
    p = planted.mixtures(200, 4, rng)
    losses, *_ = planted.log_linear(p, 3, rng)
    law = LogLinear().fit(planted.observe(p, losses), rng)
    b = law.b - law.b.mean(axis=1, keepdims=True)
    fixed, others = np.linalg.norm(b[:, :3], axis=1), np.abs(b[:, 3])
    found = coupling(law, ("d0", "d1", "d2"))
    assert found.kappa == pytest.approx(np.linalg.norm((1 + fixed + others) * fixed))
    steepest = ("d0", "d1", "d2")[int(np.argmax((b[:, :3] ** 2).sum(axis=0)))]
    assert found.most_coupled(0.0)[0] == steepest
    assert found.most_coupled(2.0) == ()
    shifted = LogLinear().fit(planted.observe(p, losses), rng)
    shifted.b[:] += 5.0  # the gauge: the same law with another offset
    assert coupling(shifted, ("d0", "d1", "d2")).kappa == pytest.approx(found.kappa)


def test_adding_takes_prior_by_tokens_and_keeps_all_runs():
    old = Domains(("a", "b"), np.array([3.0, 1.0]), np.array([60.0, 20.0]))
    update = add_domains(old, Domains(("x", "y"), np.array([1.0, 1.0]), np.array([10.0, 10.0])))
    assert update.after.names == ("a", "b", "x", "y")
    assert np.allclose(update.after.prior, [0.6, 0.2, 0.1, 0.1])
    assert (update.affected, update.unaffected) == (("x", "y"), ("a", "b"))
    runs = Observations(old, Targets(("t",)), np.array([[0.3, 0.7]]), np.ones((1, 1)))
    assert update.carry(runs).p.tolist() == [[0.3, 0.7, 0.0, 0.0]]
    told = add_domains(Domains(("a",)), Domains(("x",)), prior_mass=0.25)
    assert np.allclose(told.after.prior, [0.75, 0.25])
    with pytest.raises(InvalidInput, match="state the prior mass"):
        add_domains(Domains(("a",)), Domains(("x",)))
    with pytest.raises(InvalidInput, match="'a' is there already"):
        add_domains(old, old)


def test_removing_keeps_ratios_and_the_runs_that_did_not_use_the_domain():
    old = Domains(("a", "b", "c"), np.array([2.0, 1.0, 1.0]))
    update = remove_domains(old, ["b"])
    assert np.allclose(update.after.prior, [2 / 3, 1 / 3])
    assert update.affected == ()
    runs = Observations(old, Targets(("t",)), np.array([[0.3, 0.0, 0.7], [0.5, 0.1, 0.4]]), np.ones((2, 1)))
    carried = update.carry(runs)
    assert carried.p.tolist() == [[0.3, 0.7]]
    assert carried.run_ids == ("0",)
    with pytest.raises(InvalidInput, match="at least one must stay"):
        remove_domains(old, ["a", "b", "c"])


def test_parts_share_the_prior_and_the_runs_of_the_whole():
    old = Domains(("a", "b", "c"), np.array([1.0, 2.0, 1.0]))
    update = partition_domain(old, "b", Domains(("b1", "b2", "b3"), np.array([1.0, 1.0, 2.0])))
    assert update.after.names == ("a", "b1", "b2", "b3", "c")
    assert np.allclose(update.after.prior, [0.25, 0.125, 0.125, 0.25, 0.25])
    runs = Observations(old, Targets(("t",)), np.array([[0.2, 0.4, 0.4]]), np.ones((1, 1)))
    assert np.allclose(update.carry(runs).p, [[0.2, 0.1, 0.1, 0.2, 0.4]])
    # What follows: the others are reused, the parts are open again.
    reuse = Reuse.of_mixture(update.after, update.carry(runs).p[0], update.affected)
    assert reuse.collapsed.names == ("reused", "b1", "b2", "b3")
    assert np.allclose(reuse.ratios, [1 / 3, 2 / 3])


def test_a_revision_loses_the_runs_that_used_the_old_content():
    old = Domains(("a", "b", "c"), np.array([1.0, 1.0, 2.0]), np.array([10.0, 10.0, 20.0]))
    update = revise_domains(old, Domains(("b",), np.ones(1), np.array([70.0])))
    assert update.after.available_tokens.tolist() == [10.0, 70.0, 20.0]
    assert np.allclose(update.after.prior, [0.1, 0.7, 0.2])
    runs = Observations(old, Targets(("t",)), np.array([[0.5, 0.0, 0.5], [0.5, 0.5, 0.0]]), np.ones((2, 1)))
    assert len(update.carry(runs)) == 1
    with pytest.raises(InvalidInput, match="not on the domain set"):
        update.carry(Observations(SET, Targets(("t",)), np.full((1, 4), 0.25), np.ones((1, 1))))
