"""Solutions under groups, limits on targets, the worst excess and the price of repetition, against general solvers."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import linprog, minimize

from mixers.certificates import duality_gap
from mixers.errors import Infeasible
from mixers.laws import LAWS
from mixers.laws.base import Form
from mixers.laws.log_linear import FittedLogLinear
from mixers.laws.noise import Noise
from mixers.laws.regmix_linear import FittedLinear
from mixers.objectives import Limits, Objective, WorstExcess
from mixers.optimizers import solve
from mixers.repetition import Repetition, price_of_tokens
from mixers.shadow_prices import shadow_prices
from mixers.simplex import FeasibleSet
from mixers.types import Domains, Prediction, Scale, SolveStatus
from tests.mixers import planted

SCALE = Scale(np.float64(1e9), np.float64(1e12))
R = 1e12


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def law(k: int, t: int, seed: int = 1, linear: bool = False):
    random = np.random.default_rng(seed)
    names, targets = tuple(f"d{j}" for j in range(k)), tuple(f"t{i}" for i in range(t))
    noise = Noise.of(random.dirichlet(np.ones(k), 30), np.full(t, 0.01))
    level, slopes = random.uniform(1, 2, t), random.normal(size=(t, k))
    if linear:
        return FittedLinear(names, targets, level, slopes, noise)
    return FittedLogLinear(names, targets, level, np.zeros(t), slopes, np.full(t, 50.0), noise)


def objective(fitted, **more) -> Objective:
    k, t = len(fitted.domain_names), len(fitted.target_names)
    options = {"kl": 0.0, "prior": planted.domains(k).prior, **more}
    return Objective(fitted, SCALE, np.ones(t), **options)


def grouped(k: int) -> FeasibleSet:
    prior = planted.domains(k).prior
    names = planted.domains(k).names
    half, odd = names[: k // 2], names[1::2]
    share = float(prior[: k // 2].sum())
    return FeasibleSet.from_constraints(
        planted.domains(k),
        groups={"half": half, "odd": odd},
        min_groups={"half": share + 0.05},
        max_groups={"odd": float(prior[1::2].sum())},
        current=prior,
        max_total_change=0.2,
    )


@pytest.mark.parametrize("kl", [0.0, 0.02])
@pytest.mark.parametrize("worst", [False, True])
def test_groups_and_changes_are_solved_to_a_certificate(kl, worst):
    fitted, feasible = law(12, 6), grouped(12)
    prior = planted.domains(12).prior
    excess = WorstExcess(np.eye(6), fitted.predict(prior, SCALE).mean) if worst else None
    problem = objective(fitted, kl=kl, worst=excess)
    solution = solve(problem, feasible, rng()).solution
    assert solution.status is SolveStatus.OPTIMAL
    assert solution.residual < 1e-6
    assert feasible.contains(solution.weights, 1e-8)
    others = feasible.sample(1000, np.ones(12), rng())
    near = 0.98 * solution.weights + 0.02 * others
    assert (problem.value(np.vstack([others, near])) >= solution.value - 1e-8).all()


def test_the_gap_of_a_mixture_that_is_not_optimal_bounds_its_distance():
    fitted, feasible = law(6, 3), grouped(6)
    for kl in (0.0, 0.05):
        problem = objective(fitted, kl=kl)
        best = solve(problem, feasible, rng()).solution.value
        for p in feasible.sample(20, np.ones(6), rng()):
            assert duality_gap(problem, feasible, p) >= float(problem.value(p)) - best - 1e-8


def test_the_worst_excess_of_a_linear_law_is_the_epigraph_linear_program():
    fitted = law(7, 5, linear=True)
    prior = planted.domains(7).prior
    reference = fitted.predict(prior, SCALE).mean
    unit = np.array([1.0, 2.0, 0.5, 1.0, 3.0])
    problem = objective(fitted, worst=WorstExcess(np.eye(5) / unit[:, None], reference / unit))
    solution = solve(problem, FeasibleSet.simplex(planted.domains(7)), rng()).solution
    rows = np.hstack([fitted.slope / unit[:, None], -np.ones((5, 1))])
    right = (reference - fitted.intercept) / unit
    total = np.append(np.ones(7), 0.0)[None]
    known = linprog(np.append(np.zeros(7), 1.0), rows, right, total, [1], [(0, 1)] * 7 + [(None, None)])
    assert solution.value == pytest.approx(known.fun, abs=1e-7)
    assert solution.residual < 1e-6


def test_limits_on_targets_match_a_general_solver():
    fitted = law(5, 3)
    prior = planted.domains(5).prior
    at_most = fitted.predict(prior, SCALE).mean + np.array([0.05, 0.0, 0.1])
    limits = Limits(np.eye(3), at_most, ("target 't0'", "target 't1'", "target 't2'"), prior)
    problem = objective(fitted, kl=0.01, limits=limits)
    solved = solve(problem, FeasibleSet.simplex(planted.domains(5)), rng())
    free = solve(replace(problem, limits=None), FeasibleSet.simplex(planted.domains(5)), rng()).solution
    assert float(problem.excess(free.weights)) > 0.01  # the limits do bind
    known = minimize(
        lambda p: float(problem.value(np.maximum(p, 1e-12))),
        prior,
        bounds=[(1e-9, 1)] * 5,
        constraints=[
            {"type": "eq", "fun": lambda p: p.sum() - 1},
            {"type": "ineq", "fun": lambda p: at_most - fitted.predict(p, SCALE).mean},
        ],
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert solved.solution.value == pytest.approx(known.fun, abs=1e-6)
    assert float(problem.excess(solved.solution.weights)) <= 1e-7
    assert solved.solution.residual < 1e-6
    assert solved.limits.max() > 1e-3


def test_limits_that_no_mixture_satisfies_say_what_the_best_one_misses():
    fitted = law(4, 2, linear=True)
    feasible = FeasibleSet.simplex(planted.domains(4))
    rows = np.hstack([fitted.slope, -np.ones((2, 1))])
    total = np.append(np.ones(4), 0.0)[None]
    # The least possible maximum of both targets, 0.25 below which nothing can be.
    known = linprog(np.append(np.zeros(4), 1.0), rows, -fitted.intercept, total, [1], [(0, 1)] * 4 + [(None, None)]).fun
    limits = Limits(np.eye(2), np.full(2, known - 0.25), ("target 't0'", "target 't1'"))
    with pytest.raises(Infeasible, match=r"target 't\d' by 0\.25 \(at most"):
        solve(objective(fitted, limits=limits), feasible, rng())


def test_without_room_for_improvement_the_baseline_itself_is_the_answer():
    fitted = law(4, 2)
    feasible = FeasibleSet.simplex(planted.domains(4))
    best = solve(objective(fitted), feasible, rng()).solution
    limits = Limits(np.eye(2), fitted.predict(best.weights, SCALE).mean, ("a", "b"), best.weights)
    again = solve(objective(fitted, limits=limits), feasible, rng()).solution
    assert again.status is SolveStatus.OPTIMAL
    assert again.value == pytest.approx(best.value, abs=1e-7)


def test_a_set_of_one_mixture_is_solved():
    current = planted.domains(4).prior
    feasible = FeasibleSet.from_constraints(planted.domains(4), current=current, max_total_change=0.0)
    solution = solve(objective(law(4, 2)), feasible, rng()).solution
    assert np.allclose(solution.weights, current, atol=1e-8)
    assert solution.status is SolveStatus.OPTIMAL


def test_effective_tokens_are_muennighoffs_and_the_gradient_is_right():
    tokens = np.array([1e10, 1e11, np.inf])
    repetition = Repetition(0.7, tokens, R)
    p = np.array([0.3, 0.35, 0.35])
    seen = p[:2] * R / tokens[:2]
    effective = tokens[:2] * (1 + 15 * (1 - np.exp(-(seen - 1) / 15)))  # D_eff = U + U R* (1 - e^(-(e-1)/R*))
    assert np.allclose(repetition.wasted(p)[:2], (p[:2] * R - effective) / R)
    assert repetition.wasted(p)[2] == 0
    assert repetition.wasted(np.array([0.01, 0.1, 0.89])).tolist() == [0, 0, 0]  # one epoch is free
    step = 1e-6
    for j in range(3):
        up, down = p + step * np.eye(3)[j], p - step * np.eye(3)[j]
        slope = (repetition.cost(up) - repetition.cost(down)) / (2 * step)
        assert repetition.gradient(p)[j] == pytest.approx(float(slope), abs=1e-8)
        bend = (repetition.gradient(up) - repetition.gradient(down))[j] / (2 * step)
        assert repetition.curvature(p)[j] == pytest.approx(float(bend), rel=1e-5, abs=1e-8)
    more = replace(repetition, available_tokens=tokens + np.array([1e5, 0, 0]))
    saved = float(repetition.cost(p) - more.cost(p)) / 1e5
    assert repetition.value_per_token(p)[0] == pytest.approx(saved, rel=1e-4)


def test_a_price_of_repetition_moves_weight_to_where_tokens_are_fresh():
    fitted = law(4, 2)
    free = solve(objective(fitted, kl=0.02), FeasibleSet.simplex(planted.domains(4)), rng()).solution.weights
    scarce = np.full(4, np.inf)
    scarce[int(np.argmax(free))] = 0.02 * R
    problem = objective(fitted, kl=0.02, repetition=Repetition(2.0, scarce, R))
    solution = solve(problem, FeasibleSet.simplex(planted.domains(4)), rng()).solution
    j = int(np.argmax(free))
    assert 0.02 < solution.weights[j] < free[j]
    assert solution.residual < 1e-6
    grid = solution.weights + 0.02 * (planted.mixtures(2000, 4, rng()) - solution.weights)
    assert (problem.value(grid) >= solution.value - 1e-9).all()


def test_the_price_of_tokens_is_the_slope_of_the_law_in_log_tokens():
    runs = planted.scaled_swarm(120, noise=0.0)
    fitted = LAWS["additive_scaling"].fit(runs, rng())
    scale, p = Scale(np.float64(4e6), np.float64(2e9)), np.full(4, 0.25)
    price = price_of_tokens(fitted, np.ones(3), p, scale)
    # d/d log D of 0.5 (D / 1e9)^-0.4 at 2e9
    assert price == pytest.approx(0.5 * 0.4 * 2**-0.4, rel=0.15)
    assert price_of_tokens(LAWS["mean"].fit(runs, rng()), np.ones(3), p, Scale.unknown()) is None


def priced(tokens: np.ndarray, most: float = 0.3, group: float = 0.5, moved: float = 0.3, allowed: float = 0.02):
    fitted = law(6, 4, seed=0)
    prior = np.array([0.3, 0.05, 0.2, 0.1, 0.05, 0.3])
    domains = Domains(fitted.domain_names, prior, tokens)
    feasible = FeasibleSet.from_constraints(
        domains,
        target_tokens=R,
        max_epochs=8,
        max_weights={"d0": most},
        groups={"a": ["d1", "d2", "d3"]},
        max_groups={"a": group},
        current=prior,
        max_total_change=moved,
    )
    at_most = fitted.predict(prior, SCALE).mean + np.array([0.4, allowed, 0.4, 0.4])
    limits = Limits(np.eye(4), at_most, ("t0", "t1", "t2", "t3"), prior)
    problem = Objective(fitted, SCALE, np.ones(4), 0.01, prior, limits=limits, repetition=Repetition(0.3, tokens, R))
    return problem, feasible


TOKENS = np.array([6e10, 2.5e10, 2.5e10, 2.5e10, 2.5e10, 4e10])


@pytest.mark.parametrize(
    "options",
    [{}, {"group": 0.4}, {"moved": 0.1}, {"allowed": 0.0, "group": 0.9, "moved": 0.6}, {"most": 0.25, "moved": 0.6}],
)
def test_prices_are_the_derivatives_of_resolved_problems(options):
    problem, feasible = priced(TOKENS, **options)
    solution = solve(problem, feasible, rng()).solution
    found = shadow_prices(problem, feasible, solution.weights)
    assert found.residual < 1e-7
    assert found.prices

    def best(tokens: np.ndarray, **changed: float) -> float:
        return solve(*priced(tokens, **{**options, **changed}), rng()).solution.value

    defaults = {"most": 0.3, "group": 0.5, "moved": 0.3, "allowed": 0.02, **options}
    names = {"max_weight": "most", "max_group": "group", "total_change": "moved", "target_limit": "allowed"}
    by_tokens: dict[str, float] = {}
    for price in found.prices:
        if price.unit == "billion tokens":
            by_tokens[price.subject] = by_tokens.get(price.subject, 0.0) + price.value
            continue
        name, step = names[price.kind], 1e-4
        up, down = (best(TOKENS, **{name: defaults[name] + sign * step}) for sign in (1, -1))
        assert price.value == pytest.approx((down - up) / (2 * step) * 0.01, rel=2e-2, abs=1e-6), price
    for subject, value in by_tokens.items():
        step = 1e8 * (np.arange(6) == int(subject[1:]))
        assert value == pytest.approx((best(TOKENS - step) - best(TOKENS + step)) / 0.2, rel=2e-2, abs=1e-6), subject


class Stairs(FittedLinear):
    """A linear law in steps of 0.02, as a tree would have it: no gradient."""

    @property
    def form(self) -> Form:
        return Form.STEPS

    def predict(self, p, scale):
        plain = super().predict(p, scale)
        return Prediction(np.round(plain.mean / 0.02) * 0.02, plain.std)


def test_a_law_without_a_gradient_has_no_prices_but_keeps_its_limits():
    smooth = law(4, 3, linear=True)
    fitted = Stairs(**vars(smooth))
    domains = planted.domains(4)
    feasible = FeasibleSet.from_constraints(domains, groups={"g": ["d0", "d1"]}, max_groups={"g": 0.4})
    at_most = fitted.predict(domains.prior, SCALE).mean + 0.04
    limits = Limits(np.eye(3), at_most, ("t0", "t1", "t2"), domains.prior)
    problem = objective(fitted, limits=limits)
    solution = solve(problem, feasible, rng()).solution
    assert feasible.contains(solution.weights, 1e-8)
    assert float(problem.excess(solution.weights)) <= 1e-7
    # The same limits on the law without steps, which are off by half a step at most.
    exact = solve(replace(problem, law=smooth, limits=replace(limits, witness=None)), feasible, rng()).solution
    assert solution.value <= exact.value + 0.03
    assert np.isnan(shadow_prices(problem, feasible, solution.weights).residual)
    impossible = replace(limits, at_most=at_most - 10, witness=None)
    with pytest.raises(Infeasible, match="candidate mixtures misses"):
        solve(replace(problem, limits=impossible), feasible, rng())


class Wavy(FittedLinear):
    """A linear law with a ripple: smooth, not convex."""

    @property
    def form(self) -> Form:
        return Form.SMOOTH

    def predict(self, p, scale):
        plain = super().predict(p, scale)
        return Prediction(plain.mean + 0.1 * np.sin(6 * p).sum(axis=-1, keepdims=True), plain.std)

    def value_and_gradient(self, p, scale):
        return self.predict(p, scale).mean, self.slope + 0.6 * np.cos(6 * p)


@pytest.mark.parametrize("worst", [False, True])
def test_smooth_laws_keep_groups_and_limits_and_beat_every_draw(worst):
    smooth = law(5, 3, linear=True)
    fitted = Wavy(**vars(smooth))
    feasible = grouped(5)
    inside = feasible.sample(4000, np.ones(5), rng())
    at_most = np.quantile(fitted.predict(inside, SCALE).mean, 0.6, axis=0)
    limits = Limits(np.eye(3), at_most, ("t0", "t1", "t2"))
    excess = WorstExcess(np.eye(3), at_most) if worst else None
    problem = objective(fitted, kl=0.01, limits=limits, worst=excess)
    solution = solve(problem, feasible, rng()).solution
    assert solution.status is SolveStatus.CONVERGED
    assert feasible.contains(solution.weights, 1e-7)
    assert float(problem.excess(solution.weights)) <= 1e-6
    allowed = inside[problem.excess(inside) <= 0]
    assert len(allowed) > 20
    assert (problem.value(allowed) >= solution.value - 1e-7).all()
