"""Solutions against closed forms and certificates; verdicts against SciPy's paired t-test."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import ttest_rel

from mixers.certificates import duality_gap
from mixers.errors import InvalidInput, TooFewRuns
from mixers.laws import LAWS, Form
from mixers.laws.bimix import FittedBiMix
from mixers.laws.log_linear import FittedLogLinear
from mixers.laws.noise import Noise
from mixers.objectives import Objective, family_weights, kl_divergence
from mixers.optimizers import minimize_objective
from mixers.problem import Level, MinimiseWorst, NotWorse, objective_of
from mixers.recommendation import Checks, Problem, best_measured, interval, largest_scale, recommend
from mixers.simplex import FeasibleSet
from mixers.types import Scale, SolveStatus, Targets
from mixers.verification import contrast, mean_and_stderr
from tests.mixers import planted

SCALE = Scale(np.float64(1e6), np.float64(1e9))
NO_CHECKS = Checks(worst=False, sensitivity=False)


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
    assert np.allclose(solution.weights, fixed / fixed.sum(), atol=1e-8)


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
    assert np.allclose(solution.weights, (pull / high) ** (1 / (1 + alpha)), atol=1e-6)
    assert solution.residual < 1e-6


def test_a_strong_pull_gives_the_prior_and_none_gives_the_best_corner_of_a_single_target():
    law = log_linear(t=1)
    feasible = FeasibleSet.simplex(planted.domains(5))
    heavy = minimize_objective(objective(law, 1e5, t=1), feasible, rng())
    assert np.allclose(heavy.weights, planted.domains(5).prior, atol=1e-5)
    free = minimize_objective(objective(law, 0.0, t=1), feasible, rng())
    assert np.allclose(free.weights, np.eye(5)[np.argmin(law.b[0])], atol=1e-7)


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
    fitted = planted.law_of(name).fit(runs, rng())
    problem = full_problem(runs, 0.05, target_tokens=1e10, max_epochs=4.0)
    checks = None if fitted.form == Form.CONVEX else NO_CHECKS  # a tree law takes a second for each
    answer = recommend(fitted, problem, runs, rng(), checks)
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


def two_families(noise: float = 0.0):
    """A swarm whose targets belong to families a, a and b, and the log-linear law fitted to it."""
    runs = planted.swarm(80, noise=noise)
    targets = replace(runs.targets, families=("a", "a", "b"))
    runs = replace(runs, targets=targets)
    return runs, LAWS["log_linear"].fit(runs, rng())


def test_families_count_by_their_weight_and_targets_by_theirs():
    targets = Targets(("x", "y", "z"), np.array([1.0, 3.0, 2.0]), ("a", "a", "b"))
    assert np.allclose(family_weights(targets, {"a": 1.0, "b": 3.0}), [0.25 / 4, 0.75 / 4, 0.75])
    assert np.allclose(family_weights(targets, {"b": 0.0}), [0.25, 0.75, 0.0])
    with pytest.raises(InvalidInput, match="no family 'c'; known are a, b"):
        family_weights(targets, {"c": 1.0})
    runs, fitted = two_families()
    only_b = recommend(fitted, replace(full_problem(runs), family_weights={"a": 0.0}), runs, rng(), NO_CHECKS)
    alone = replace(runs.targets, weights=np.array([0.0, 0.0, 1.0]))
    same = recommend(fitted, replace(full_problem(runs), targets=alone), runs, rng(), NO_CHECKS)
    assert np.allclose(only_b.solution.weights, same.solution.weights, atol=1e-6)


def test_no_target_is_worse_than_the_baseline_by_more_than_was_allowed():
    runs, fitted = two_families()
    draws = planted.mixtures(500, 4, rng())
    best_for_t0 = draws[int(np.argmin(fitted.predict(draws, SCALE).mean[:, 0]))]
    problem = replace(full_problem(runs), baselines={"mine": best_for_t0})
    free = recommend(fitted, problem, runs, rng(), NO_CHECKS)
    assert free.gains["mine"].targets.mean[0] < -0.02  # without limits the first target pays
    strict = replace(problem, not_worse=NotWorse("mine", 0.01, each={"t0": 0.005}))
    answer = recommend(fitted, strict, runs, rng(), NO_CHECKS)
    assert (answer.gains["mine"].targets.mean >= np.array([-0.005, -0.01, -0.01]) - 1e-6).all()
    assert answer.solution.residual < 1e-6
    assert any(price.kind == "target_limit" and "t0" in price.subject for price in answer.prices.prices)
    families = replace(problem, not_worse=NotWorse("mine", 0.0, Level.FAMILIES))
    gain = recommend(fitted, families, runs, rng(), NO_CHECKS).gains["mine"].targets.mean
    assert gain[:2].mean() >= -1e-6
    assert gain[2] >= -1e-6
    with pytest.raises(InvalidInput, match="no baseline 'yours'; known are natural"):
        recommend(fitted, replace(strict, not_worse=NotWorse("yours")), runs, rng(), NO_CHECKS)
    with pytest.raises(InvalidInput, match="no target 't9'"):
        recommend(fitted, replace(strict, not_worse=NotWorse(each={"t9": 0.1})), runs, rng(), NO_CHECKS)


def test_the_worst_excess_is_least_where_no_other_mixture_has_less():
    runs, fitted = two_families()
    problem = replace(full_problem(runs), worst=MinimiseWorst("natural"))
    answer = recommend(fitted, problem, runs, rng(), NO_CHECKS)
    reference = fitted.predict(problem.domains.prior, SCALE).mean
    excess = (fitted.predict(planted.mixtures(5000, 4, rng()), SCALE).mean - reference).max(axis=1)
    assert answer.predictions["recommended"].objective_mean <= excess.min() + 1e-9
    assert answer.predictions["natural"].objective_mean == pytest.approx(0.0, abs=1e-9)
    spreads = replace(problem, worst=MinimiseWorst("natural", in_spreads=True))
    own = (fitted.predict(planted.mixtures(5000, 4, rng()), SCALE).mean - reference) / runs.losses.std(axis=0)
    found = recommend(fitted, spreads, runs, rng(), NO_CHECKS).predictions["recommended"].objective_mean
    assert found <= own.max(axis=1).min() + 1e-9


def test_the_unit_of_an_excess_is_that_of_the_runs_of_the_largest_scale_that_measured_it():
    small, fitted = two_families()
    losses = np.concatenate([small.losses + 5, small.losses])
    losses[-len(small) :: 2, 0] = np.nan
    size = np.repeat([1e5, 1e6], len(small))
    runs = planted.observe(np.tile(small.p, (2, 1)), losses, params=size, tokens=1e9)
    problem = replace(full_problem(small), worst=MinimiseWorst("natural", in_spreads=True))
    worst = objective_of(fitted, problem, runs).worst
    assert worst is not None
    assert np.allclose(np.diag(worst.matrix), 1 / np.nanstd(losses[-len(small) :], axis=0))


def test_gains_are_differences_with_the_deviation_of_two_measurements():
    runs, fitted = two_families(0.05)
    answer = recommend(fitted, full_problem(runs), runs, rng(), NO_CHECKS)
    ours, theirs, gain = answer.predictions["recommended"], answer.predictions["uniform"], answer.gains["uniform"]
    assert gain.objective_mean == pytest.approx(theirs.objective_mean - ours.objective_mean)
    assert gain.objective_std == pytest.approx(np.hypot(theirs.objective_std, ours.objective_std))
    assert np.allclose(gain.targets.std**2, theirs.targets.std**2 + ours.targets.std**2)


def test_the_measured_mixture_is_offered_when_the_gain_is_within_the_noise_and_it_is_allowed():
    random = np.random.default_rng(3)
    runs = planted.observe(planted.mixtures(60, 4, random), 3 + random.normal(0, 0.1, (60, 2)))
    fitted = LAWS["log_linear"].fit(runs, rng())
    answer = recommend(fitted, full_problem(runs), runs, rng(), NO_CHECKS)
    assert answer.within_noise is True
    assert answer.offered == "best_measured"
    assert np.array_equal(answer.offered_weights, best_measured(runs))
    away = {f"d{int(np.argmax(best_measured(runs)))}": float(best_measured(runs).max()) / 2}
    barred = recommend(fitted, full_problem(runs, max_weights=away), runs, rng(), NO_CHECKS)
    assert barred.offered == "recommended"
    assert "best_measured" in barred.outside
    assert "do not allow" in barred.message
    clear = planted.swarm(80, noise=1e-4)
    good = recommend(LAWS["log_linear"].fit(clear, rng()), full_problem(clear), clear, rng(), NO_CHECKS)
    assert (good.within_noise, good.offered) == (False, "recommended")
    assert recommend(fitted, full_problem(runs), None, rng(), NO_CHECKS).within_noise is None


def test_a_domain_that_no_run_contained_is_named():
    p = planted.mixtures(40, 4, rng())
    p[:, 2] = 0
    p /= p.sum(axis=1, keepdims=True)
    losses, *_ = planted.log_linear(p, 2, rng())
    runs = planted.observe(p, losses)
    answer = recommend(LAWS["log_linear"].fit(runs, rng()), full_problem(runs), runs, rng(), NO_CHECKS)
    assert answer.unseen == ("d2",)
    assert "No run contained d2: the law knows nothing about it" in answer.message


def test_repetition_is_priced_and_shown_in_tokens():
    runs, fitted = two_families()
    free = full_problem(runs, target_tokens=4e11, max_epochs=1000.0)
    cheap = recommend(fitted, free, runs, rng(), NO_CHECKS)
    dear = recommend(fitted, replace(free, repetition_price=5.0), runs, rng(), NO_CHECKS)
    assert dear.wasted_tokens.sum() < cheap.wasted_tokens.sum()
    assert dear.solution.residual < 1e-6
    assert any(price.kind == "repetition" for price in dear.prices.prices)
    assert np.isnan(recommend(fitted, full_problem(runs), runs, rng(), NO_CHECKS).wasted_tokens).all()
    with pytest.raises(InvalidInput, match="needs target_tokens"):
        recommend(fitted, replace(full_problem(runs), repetition_price=1.0), runs, rng(), NO_CHECKS)


def test_current_and_further_mixtures_stand_beside_the_recommendation():
    runs, fitted = two_families()
    current, entropy = np.array([0.4, 0.3, 0.2, 0.1]), np.array([0.1, 0.2, 0.3, 0.4])
    problem = replace(full_problem(runs), current=current, baselines={"entropy": entropy})
    answer = recommend(fitted, problem, runs, rng(), NO_CHECKS)
    assert np.array_equal(answer.mixtures["current"], current)
    assert np.array_equal(answer.mixtures["entropy"], entropy)
    assert (answer.worst, answer.sensitivity) == (None, None)


def test_the_worst_mixture_and_the_ranges_come_with_the_recommendation():
    runs, fitted = two_families()
    answer = recommend(fitted, full_problem(runs, 0.02), runs, rng())
    assert answer.worst.prediction.objective_mean > max(
        prediction.objective_mean for prediction in answer.predictions.values()
    )
    assert (answer.sensitivity.low <= answer.solution.weights + 1e-9).all()
    assert (answer.sensitivity.high >= answer.solution.weights - 1e-9).all()
