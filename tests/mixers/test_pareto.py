"""Pareto fronts against known ones; the worst mixture and the flatness of an optimum against brute force."""

from dataclasses import replace

import numpy as np
import pytest

from mixers.errors import InvalidInput
from mixers.laws.base import Form
from mixers.laws.log_linear import FittedLogLinear
from mixers.laws.noise import Noise
from mixers.laws.regmix_linear import FittedLinear
from mixers.objectives import Limits, Objective, WorstExcess
from mixers.optimizers import solve
from mixers.pareto import lean_lattice, non_dominated, pareto_front
from mixers.sensitivity import Method, sensitivity
from mixers.simplex import FeasibleSet
from mixers.types import Prediction, Scale, Targets
from mixers.worst_mixture import worst_mixture
from tests.mixers import planted

SCALE = Scale.unknown()


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def log_linear(k: int, t: int, seed: int = 2) -> FittedLogLinear:
    random = np.random.default_rng(seed)
    noise = Noise.of(random.dirichlet(np.ones(k), 30), np.full(t, 0.01))
    names, targets = tuple(f"d{j}" for j in range(k)), tuple(f"t{i}" for i in range(t))
    slopes = random.normal(size=(t, k))
    return FittedLogLinear(names, targets, np.ones(t), np.zeros(t), slopes, np.full(t, 50.0), noise)


def objective(fitted, **more) -> Objective:
    k, t = len(fitted.domain_names), len(fitted.target_names)
    return Objective(fitted, SCALE, np.ones(t), **{"kl": 0.0, "prior": planted.domains(k).prior, **more})


class Concave(FittedLinear):
    """Two targets whose front is concave: y_i = 1 - (1 - p_i)^2. No weighted mean reaches its inner points."""

    @property
    def form(self) -> Form:
        return Form.SMOOTH

    def predict(self, p, scale):
        del scale
        return Prediction(1 - (1 - p[..., :2]) ** 2, np.full((*p.shape[:-1], 2), 0.01))

    def value_and_gradient(self, p, scale):
        return self.predict(p, scale).mean, np.diag(2 * (1 - p[:2]))


def test_the_front_of_a_convex_law_is_not_dominated_by_any_mixture():
    fitted, feasible = log_linear(5, 4), FeasibleSet.from_constraints(planted.domains(5), max_weights={"d4": 0.3})
    targets = Targets(fitted.target_names, families=("a", "a", "b", "b"))
    front = pareto_front(objective(fitted), targets, feasible, rng(), count=11)
    assert front.families == ("a", "b")
    assert len(front.points) >= 9
    values = np.stack([point.values for point in front.points])
    assert (np.diff(values[:, 0]) > 0).all()
    assert (np.diff(values[:, 1]) < 0).all()
    assert np.allclose(values.min(axis=0), front.ideal, atol=1e-6)
    others = fitted.predict(feasible.sample(4000, np.ones(5), rng()), SCALE).mean
    family = np.stack([others[:, :2].mean(axis=1), others[:, 2:].mean(axis=1)], axis=1)
    for point in front.points:
        assert feasible.contains(point.weights, 1e-8)
        assert not (family < point.values - 1e-6).all(axis=1).any()


class Counted(FittedLinear):
    """Two bumps a target, so that descents end in several places; counts how often its gradient is asked for."""

    calls = 0
    centres = np.array([[[0.7, 0.2, 0.1], [0.1, 0.2, 0.7]], [[0.2, 0.7, 0.1], [0.3, 0.1, 0.6]]])  # (t, bumps, k)

    @property
    def form(self) -> Form:
        return Form.SMOOTH

    def _bumps(self, p):
        off = p[..., None, None, :] - self.centres
        return off, np.array([1.0, 0.8]) * np.exp(-6 * (off**2).sum(axis=-1))

    def predict(self, p, scale):
        del scale
        mean = 2 - self._bumps(p)[1].sum(axis=-1)
        return Prediction(mean, np.full_like(mean, 0.01))

    def value_and_gradient(self, p, scale):
        type(self).calls += 1
        off, bumps = self._bumps(p)
        return self.predict(p, scale).mean, (12 * bumps[..., None] * off).sum(axis=-2)


def test_a_front_from_screened_starts_is_that_of_many_random_starts_at_a_fraction_of_the_work():
    """Each lean is solved again from twelve starts: no point may be worse by the number that it was found for."""
    blank = log_linear(3, 2)
    fitted = Counted(blank.domain_names, blank.target_names, np.zeros(2), np.zeros((2, 3)), blank.noise)
    feasible, targets = FeasibleSet.simplex(planted.domains(3)), Targets(fitted.target_names)
    asked = objective(fitted)
    Counted.calls = 0
    front = pareto_front(asked, targets, feasible, rng(), count=7)
    screened, Counted.calls = Counted.calls, 0
    ends = np.stack([solve(replace(asked, weights=row), feasible, rng()).solution.weights for row in np.eye(2)])
    values = fitted.predict(ends, SCALE).mean
    ideal, extent = values.min(axis=0), np.ptp(values, axis=0)
    assert front.ideal == pytest.approx(ideal, abs=1e-7)
    for lean in lean_lattice(2, 7):
        share = lean / extent
        worst = WorstExcess(np.diag(share), share * ideal, 1e-3 * (1 / extent).sum())
        chebyshev = replace(asked, worst=worst, weights=1 / extent)
        many = solve(chebyshev, feasible, rng()).solution.value
        nearest = min(float(chebyshev.value(point.weights)) for point in front.points)
        assert nearest <= many + 1e-6
    assert screened < Counted.calls / 3


def test_a_concave_front_is_reached_inside_too():
    blank = log_linear(2, 2)
    fitted = Concave(blank.domain_names, blank.target_names, np.zeros(2), np.zeros((2, 2)), blank.noise)
    feasible = FeasibleSet.simplex(planted.domains(2))
    front = pareto_front(objective(fitted), Targets(fitted.target_names), feasible, rng(), count=7)
    shares = np.array([point.weights[0] for point in front.points])
    assert len(shares) == 9
    assert ((shares > 0.05) & (shares < 0.95)).sum() >= 5


def test_limits_hold_along_the_front():
    fitted, feasible = log_linear(4, 3), FeasibleSet.simplex(planted.domains(4))
    prior = planted.domains(4).prior
    limits = Limits(np.eye(3)[2:], fitted.predict(prior, SCALE).mean[2:], ("t2",), prior)
    front = pareto_front(objective(fitted, limits=limits), Targets(fitted.target_names), feasible, rng(), count=6)
    assert all(point.values[2] <= limits.at_most[0] + 1e-7 for point in front.points)


def test_one_family_has_no_front():
    fitted = log_linear(3, 2)
    with pytest.raises(InvalidInput, match="at least two families"):
        pareto_front(
            objective(fitted),
            Targets(fitted.target_names, families=("a", "a")),
            FeasibleSet.simplex(planted.domains(3)),
            rng(),
        )


def test_leans_are_lattice_points_inside_of_the_simplex():
    assert lean_lattice(2, 3).tolist() == [[0.25, 0.75], [0.5, 0.5], [0.75, 0.25]]
    three = lean_lattice(3, 10)
    assert len(three) == 10
    assert np.allclose(three.sum(axis=1), 1)
    assert (three > 0).all()
    assert np.allclose(lean_lattice(6, 1), 1 / 6)


def test_non_dominated_rows_are_told_by_their_definition():
    values = np.array([[1.0, 3.0], [2.0, 2.0], [3.0, 3.0], [2.0, 2.0], [3.0, 1.0]])
    assert non_dominated(values).tolist() == [True, True, False, False, True]


def test_the_worst_mixture_of_a_convex_law_is_its_worst_vertex():
    fitted = log_linear(6, 3)
    feasible = FeasibleSet.from_constraints(
        planted.domains(6), max_weights={"d0": 0.5}, groups={"g": ["d1", "d2", "d3"]}, max_groups={"g": 0.4}
    )
    problem = objective(fitted)
    worst = worst_mixture(problem, feasible, rng())
    assert feasible.contains(worst, 1e-8)
    draws = feasible.sample(5000, np.full(6, 0.2), rng())
    vertices = [feasible.best_vertex(rng_cost) for rng_cost in np.random.default_rng(1).normal(size=(300, 6))]
    assert float(problem.predicted(worst)) >= float(problem.predicted(np.vstack([draws, vertices])).max()) - 1e-9


def test_ranges_of_an_optimum_hold_everything_within_the_margin():
    fitted, feasible = log_linear(4, 3), FeasibleSet.from_constraints(planted.domains(4), max_weights={"d1": 0.4})
    problem, margin = objective(fitted, kl=0.02), 0.01
    best = solve(problem, feasible, rng()).solution
    solved = sensitivity(problem, feasible, best.weights, margin)
    assert solved.method is Method.SOLVED
    near = np.concatenate(
        [feasible.sample(20_000, 30 * best.weights + 0.3, rng()), feasible.sample(20_000, np.ones(4), rng())]
    )
    good = near[problem.value(near) <= best.value + margin]
    assert len(good) > 100
    width = solved.high - solved.low
    assert (good.min(axis=0) >= solved.low - 0.03 * width - 1e-6).all()
    assert (good.max(axis=0) <= solved.high + 0.03 * width + 1e-6).all()
    # Draws come near the ends, so the ranges are not just wide.
    assert (good.min(axis=0) <= solved.low + 0.25 * width + 1e-3).all()
    assert (good.max(axis=0) >= solved.high - 0.25 * width - 1e-3).all()


def test_ranges_in_proportion_lie_within_the_solved_ones():
    fitted, feasible = log_linear(24, 3), FeasibleSet.simplex(planted.domains(24))
    problem = objective(fitted, kl=0.02)
    best = solve(problem, feasible, rng()).solution
    rough = sensitivity(problem, feasible, best.weights, 0.01)
    assert rough.method is Method.IN_PROPORTION
    assert (rough.low <= best.weights + 1e-9).all()
    assert (rough.high >= best.weights - 1e-9).all()
    assert (rough.high - rough.low).max() > 0.02
    with pytest.raises(InvalidInput, match="margin"):
        sensitivity(problem, feasible, best.weights, 0.0)
