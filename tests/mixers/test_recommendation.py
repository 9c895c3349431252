"""Solutions against closed forms and certificates; verdicts against SciPy's paired t-test."""

import numpy as np
import pytest
from scipy.stats import ttest_rel

from mixers.certificates import duality_gap
from mixers.errors import TooFewRuns
from mixers.laws import LAWS, Form
from mixers.laws.bimix import FittedBiMix
from mixers.laws.log_linear import FittedLogLinear
from mixers.laws.noise import Noise
from mixers.objectives import Objective, kl_divergence
from mixers.optimizers import minimize_objective
from mixers.recommendation import Checks, Problem, best_measured, interval, largest_scale, recommend
from mixers.simplex import FeasibleSet
from mixers.types import Scale, SolveStatus
from mixers.verification import contrast, mean_and_stderr
from tests.mixers import planted

SCALE = Scale(np.float64(1e6), np.float64(1e9))


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def noise(k: int, t: int) -> Noise:
    return Noise.of(planted.mixtures(20, k, rng()), np.full(t, 0.1))


def log_linear(k: int = 5, t: int = 3) -> FittedLogLinear:
    random = np.random.default_rng(1)
    names = tuple(f"d{j}" for j in range(k))
    targets = tuple(f"t{i}" for i in range(t))
    return FittedLogLinear(
        names, targets, np.ones(t), np.zeros(t), random.normal(size=(t, k)), np.full(t, 50.0), noise(k, t)
    )


def objective(law, kl: float, k: int = 5, t: int = 3) -> Objective:
    return Objective(law, SCALE, np.arange(1.0, t + 1), kl, planted.domains(k).prior)


def test_the_log_linear_optimum_is_olmixs_fixed_point():
    problem = objective(log_linear(), 0.3)
    solution = minimize_objective(problem, FeasibleSet.simplex(planted.domains(5)), rng())
    _, gradient = problem.law_value_and_gradient(solution.weights)
    fixed = problem.prior * np.exp(-gradient / 0.3)
    assert solution.status is SolveStatus.OPTIMAL
    assert np.allclose(solution.weights, fixed / fixed.sum(), atol=1e-5)


def test_bimix_reaches_its_closed_form_optimum():
    k, alpha = 4, np.array([0.1, 0.3, 0.2, 0.15])
    level = np.array([2.0, 3.0, 2.5, 1.5])
    theta = np.stack([np.log(level), alpha, np.zeros(k), np.full(k, 0.3)], axis=1)
    names = tuple(f"d{j}" for j in range(k))
    law = FittedBiMix(names, names, theta, np.arange(k), np.full(k, 1e-6), 1e9, noise(k, k))
    weights = np.array([1.0, 2.0, 1.0, 3.0])
    problem = Objective(law, SCALE, weights, 0.0, np.full(k, 1 / k))
    solution = minimize_objective(problem, FeasibleSet.simplex(planted.domains(k)), rng())
    # r_j = (alpha_j K_j / lambda)^(1 / (1 + alpha_j)) with lambda from the sum (methods of BiMix, section 3).
    pull = alpha * level * weights / weights.sum()
    low, high = 1e-9, 1e9
    for _ in range(200):
        middle = np.sqrt(low * high)
        low, high = (middle, high) if ((pull / middle) ** (1 / (1 + alpha))).sum() > 1 else (low, middle)
    assert np.allclose(solution.weights, (pull / high) ** (1 / (1 + alpha)), atol=2e-4)
    assert solution.residual < 1e-6


def test_a_strong_pull_gives_the_prior_and_none_gives_the_best_corner_of_a_single_target():
    law = log_linear(t=1)
    feasible = FeasibleSet.simplex(planted.domains(5))
    heavy = minimize_objective(objective(law, 1e5, t=1), feasible, rng())
    assert np.allclose(heavy.weights, planted.domains(5).prior, atol=1e-4)
    free = minimize_objective(objective(law, 0.0, t=1), feasible, rng())
    assert np.allclose(free.weights, np.eye(5)[np.argmin(law.b[0])], atol=1e-4)


@pytest.mark.parametrize("kl", [0.0, 0.05])
def test_no_feasible_mixture_beats_a_certified_optimum(kl):
    law = log_linear(8, 4)
    domains = planted.domains(8, np.linspace(1e9, 8e9, 8))
    feasible = FeasibleSet.from_constraints(domains, target_tokens=2e10, max_epochs=2, min_weights={"d0": 0.02})
    problem = objective(law, kl, 8, 4)
    solution = minimize_objective(problem, feasible, rng())
    assert solution.status is SolveStatus.OPTIMAL
    assert solution.residual < 1e-6
    assert feasible.contains(solution.weights, 1e-9)
    others = feasible.sample(5000, np.ones(8), rng())
    assert (problem.value(others) >= solution.value - 1e-6).all()
    near = 0.99 * solution.weights + 0.01 * others
    assert (problem.value(near) >= solution.value - 1e-6).all()


def test_the_duality_gap_bounds_the_distance_to_the_optimum():
    problem, feasible = objective(log_linear(), 0.1), FeasibleSet.simplex(planted.domains(5))
    best = minimize_objective(problem, feasible, rng()).value
    for p in planted.mixtures(50, 5, rng()):
        assert duality_gap(problem, feasible, p) >= float(problem.value(p)) - best - 1e-9


def test_candidates_come_near_the_true_optimum_of_a_tree_law():
    runs = planted.swarm(300, noise=0.0)
    feasible = FeasibleSet.simplex(runs.domains)
    results = {}
    for name in ("regmix_lightgbm", "log_linear"):
        law = LAWS[name].fit(runs, rng())
        problem = Objective(law, SCALE, runs.targets.weights, 0.0, runs.domains.prior)
        results[name] = minimize_objective(problem, feasible, rng())
    assert results["regmix_lightgbm"].status is SolveStatus.BEST_FOUND
    smooth = LAWS["log_linear"].fit(runs, rng())
    truth = Objective(smooth, SCALE, runs.targets.weights, 0.0, runs.domains.prior)
    spread = float(truth.value(runs.p).max() - truth.value(runs.p).min())
    assert float(truth.value(results["regmix_lightgbm"].weights)) - results["log_linear"].value < 0.1 * spread


def test_kl_is_zero_at_the_prior_and_positive_elsewhere():
    prior = planted.domains(4).prior
    assert kl_divergence(prior, prior) == pytest.approx(0.0, abs=1e-15)
    assert (kl_divergence(planted.mixtures(20, 4, rng()), prior) > 0).all()
    assert np.isfinite(kl_divergence(np.eye(4), prior)).all()


def full_problem(runs, kl=0.0, **constraints) -> Problem:
    domains = planted.domains(4, np.array([1e9, 2e9, 3e9, 4e9]))
    feasible = FeasibleSet.from_constraints(domains, **constraints)
    return Problem(domains, runs.targets, feasible, kl, SCALE, constraints.get("target_tokens"))


@pytest.mark.parametrize("name", LAWS)
def test_every_law_gives_a_feasible_recommendation_beside_the_baselines(name):
    runs = planted.scaled_swarm(60) if LAWS[name].needs.min_scales > 1 else planted.swarm(60)
    fitted = LAWS[name].fit(runs, rng())
    problem = full_problem(runs, 0.05, target_tokens=1e10, max_epochs=4.0)
    answer = recommend(fitted, problem, runs, rng(), Checks(sensitivity=fitted.form == Form.CONVEX))
    assert problem.feasible.contains(answer.mixtures["recommended"], 1e-9)
    names = {"recommended", "natural", "uniform", "temperature", "unimax", "best_measured"}
    assert set(answer.mixtures) == names == set(answer.predictions) == {*answer.gains, "recommended"}
    assert np.allclose(answer.epochs, answer.solution.weights * 1e10 / problem.domains.available_tokens)
    assert (answer.epochs <= 4 + 1e-6).all()
    if fitted.form == Form.CONVEX:
        assert answer.solution.residual < 1e-6
        assert answer.prices.residual < 1e-5


def test_active_caps_are_marked():
    runs = planted.swarm(60, noise=0.0)
    fitted = LAWS["log_linear"].fit(runs, rng())
    free = recommend(fitted, full_problem(runs), runs, rng()).solution.weights
    favourite = int(np.argmax(free))
    limit = {f"d{favourite}": float(free[favourite]) / 2}
    answer = recommend(fitted, full_problem(runs, max_weights=limit), runs, rng())
    assert answer.capped.tolist() == [j == favourite for j in range(4)]


def test_best_measured_averages_repeats_and_looks_at_the_largest_scale():
    p = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    losses = np.array([[2.0], [1.0], [4.0], [0.1]])
    runs = planted.observe(p, losses, params=np.array([9e6, 9e6, 9e6, 1e6]), tokens=1e9)
    # At 9M parameters: the first mixture 2.0, the second (1 + 4) / 2 = 2.5. The 0.1 is of a smaller model.
    assert best_measured(runs).tolist() == [1.0, 0.0]
    assert float(largest_scale(runs).model_params) == 9e6


def test_a_gain_within_the_noise_is_said_to_be():
    random = np.random.default_rng(3)
    runs = planted.observe(planted.mixtures(60, 4, random), 3 + random.normal(0, 0.1, (60, 2)))
    fitted = LAWS["log_linear"].fit(runs, rng())
    assert "within the noise" in recommend(fitted, full_problem(runs), runs, rng()).message


def test_intervals_are_ninety_percent_of_a_normal():
    low, high = interval(1.0, 0.1)
    assert (low, high) == pytest.approx((1 - 0.16449, 1 + 0.16449), abs=1e-5)


def test_the_contrast_is_scipys_paired_test():
    random = np.random.default_rng(5)
    a, b = random.normal(1.0, 0.1, 6), random.normal(1.1, 0.1, 6)
    result, known = contrast(a, b), ttest_rel(a, b).confidence_interval(0.95)
    assert (result.low, result.high) == pytest.approx((known.low, known.high))


@pytest.mark.parametrize(("shift", "verdict"), [(-1.0, "better"), (0.0, "no difference shown"), (1.0, "worse")])
def test_the_verdict_follows_the_interval(shift, verdict):
    base = np.array([1.0, 1.2, 0.9, 1.1])
    wobble = np.array([0.01, -0.01, 0.02, -0.02])
    assert contrast(base + shift + wobble, base).verdict == verdict


def test_one_seed_is_no_comparison():
    with pytest.raises(TooFewRuns, match="at least 2 seeds"):
        contrast(np.array([1.0]), np.array([2.0]))
    mean, error = mean_and_stderr(np.array([1.0, 3.0]))
    assert (mean, error) == (2.0, 1.0)
