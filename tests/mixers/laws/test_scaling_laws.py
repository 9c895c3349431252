"""The additive and the joint scaling law: what was planted, what is proved about them, and published errors."""

from dataclasses import replace

import numpy as np
import pytest

from app.formats.swarm_folder import read_swarm
from mixers.errors import TooFewRuns
from mixers.laws import Form
from mixers.laws.additive_scaling import AdditiveScaling
from mixers.laws.joint_scaling import FittedJointScaling, JointScaling
from mixers.laws.scaling_fit import ScalingData, additive_problem, joint_problem
from mixers.types import Observations, Scale
from tests.mixers import planted

RNG = np.random.default_rng(0)
C = np.array([[0.6, 1.5, 0.9], [1.2, 0.5, 1.0]])
GAMMA = np.array([[0.6, 0.9, 0.4], [0.8, 0.5, 1.0]])
both_laws = pytest.mark.parametrize("law", [AdditiveScaling(), JointScaling()], ids=lambda law: law.name)


def additive_truth(p: np.ndarray, params: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Losses (n, 2) with alpha = .35, .25 and beta = .4, .3, and amplitudes at 1e7 parameters and 1e9 tokens."""
    mixture = 1 / (C * p[:, None, :] ** GAMMA).sum(axis=2)
    size = np.array([0.5, 0.8]) * (params[:, None] / 1e7) ** -np.array([0.35, 0.25])
    supply = np.array([0.6, 0.3]) * (tokens[:, None] / 1e9) ** -np.array([0.4, 0.3])
    return np.array([1.5, 0.8]) + mixture + size + supply


def joint_truth(p: np.ndarray, params: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """As the additive one, with an amplitude of N that is twice as large in the first domain as in the last."""
    lean = (p @ np.array([1.4, 1.0, 0.7])) ** 1.5 - 1
    size = np.array([0.5, 0.8]) * (params[:, None] / 1e7) ** -np.array([0.35, 0.25])
    return additive_truth(p, params, tokens) + lean[:, None] * size


def grid(mixes: int = 20, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(p, N, D) of every mixture at 4 sizes and 4 token counts."""
    p = planted.mixtures(mixes, 3, np.random.default_rng(seed), 2.0)
    params, tokens = np.tile(np.repeat([3e6, 1e7, 3e7, 1e8], 4), mixes), np.tile([1e9, 2e9, 4e9, 8e9], 4 * mixes)
    return np.repeat(p, 16, axis=0), params, tokens


def runs_of(truth=additive_truth, noise: float = 0.0, **grid_options) -> Observations:
    p, params, tokens = grid(**grid_options)
    losses = truth(p, params, tokens)
    losses = losses + np.random.default_rng(2).normal(0, 1, losses.shape) * noise
    return planted.observe(p, losses, params=params, tokens=tokens)


def test_the_additive_law_recovers_what_was_planted():
    runs = runs_of()
    fitted = AdditiveScaling().fit(runs, RNG)
    assert np.abs(fitted.predict(runs.p, runs.scale).mean - runs.losses).max() < 5e-3
    assert np.allclose(fitted.terms.exponent, [[0.35, 0.4], [0.25, 0.3]], atol=1e-3)
    # The level of 1/M may stand in E, its differences between mixtures may not.
    mixture, known = fitted.mixture.value(runs.p), 1 / (C * runs.p[:, None, :] ** GAMMA).sum(axis=2)
    assert np.abs((mixture - known) - (mixture - known).mean(axis=0)).max() < 5e-3


def test_the_joint_law_recovers_amplitudes_that_depend_on_the_mixture():
    runs = runs_of(joint_truth, noise=1e-3)
    joint, additive = (law.fit(runs, RNG) for law in (JointScaling(), AdditiveScaling()))
    p, params, tokens = grid(seed=5)
    unseen = joint_truth(p, params, tokens)
    error = [np.abs(law.predict(p, Scale(params, tokens)).mean - unseen).mean() for law in (joint, additive)]
    assert error[0] < 0.01
    assert error[0] < error[1] / 2
    factor = (np.eye(3) @ joint.worth[1, 0]) ** joint.power[1, 0]
    assert factor[0] > 1.5 * factor[2]


@both_laws
def test_a_fit_on_small_scales_predicts_one_four_times_larger(law):
    truth = additive_truth if law.name == "additive_scaling" else joint_truth
    fitted = law.fit(runs_of(truth, noise=0.005), RNG)
    p = np.unique(grid()[0], axis=0)
    scale = Scale(np.full(20, 4e8), np.full(20, 3.2e10))
    guess, known = fitted.predict(p, scale), truth(p, *scale.broadcast((20,)))
    assert (np.abs(guess.mean - known) < 3 * guess.std).all()
    assert (guess.std < 0.02).all()


@both_laws
def test_doubt_grows_with_the_way_from_the_runs_scales(law):
    fitted = law.fit(runs_of(noise=0.005), RNG)
    p = np.full(3, 1 / 3)
    std = [fitted.predict(p, Scale(size, tokens)).std for size, tokens in ((1e7, 3e9), (1e9, 3e9), (1e11, 3e9))]
    assert (std[0] < std[1]).all()
    assert (std[1] < std[2]).all()
    later = fitted.predict(p, Scale(1e7, 1e12)).std
    assert (std[0] < later).all()


def test_joint_with_equal_worths_and_powers_of_one_is_the_additive_law():
    runs = runs_of(noise=0.01)
    additive = AdditiveScaling().fit(runs, RNG)
    joint = FittedJointScaling(
        additive.domain_names,
        additive.target_names,
        additive.constant,
        additive.mixture,
        additive.terms,
        np.ones((2, 2, 3)),
        np.ones((2, 2)),
        additive.axes,
        additive.noise,
    )
    before, after = additive.predict(runs.p, runs.scale), joint.predict(runs.p, runs.scale)
    assert np.allclose(before.mean, after.mean, rtol=1e-14)
    assert np.allclose(before.std, after.std, rtol=1e-12)
    scale = Scale(2e7, 5e9)
    (value, gradient), (same, other) = (law.value_and_gradient(runs.p[0], scale) for law in (additive, joint))
    assert np.allclose(value, same, rtol=1e-14)
    # Off the simplex the amplitudes grow with the sum of the weights; along it the slopes are equal.
    steeper = other - gradient
    assert np.allclose(steeper, steeper[:, :1], atol=1e-12)


def test_the_joint_law_is_convex_only_where_that_can_be_proved():
    fitted = JointScaling().fit(runs_of(joint_truth), RNG)
    assert fitted.form == Form.CONVEX
    assert replace(fitted, power=np.full((2, 2), 0.7)).form == Form.SMOOTH
    none = replace(fitted.terms, amplitude=np.zeros((2, 2)))
    assert replace(fitted, power=np.full((2, 2), 0.7), terms=none).form == Form.CONVEX


@both_laws
def test_a_share_of_zero_has_a_finite_loss_and_slope_and_the_law_bends_one_way(law):
    fitted = law.fit(runs_of(), RNG)
    assert (fitted.mixture.gamma < 1).any()
    path = np.linspace(0, 0.2, 401)[:, None] * np.array([1.0, -0.5, -0.5]) + np.array([0.0, 0.5, 0.5])
    scale = Scale(1e7, 1e9)
    value = fitted.predict(path, scale).mean
    assert (np.diff(value, n=2, axis=0) > -1e-10).all()
    assert np.isfinite(fitted.value_and_gradient(path[0], scale)[1]).all()


def test_one_scale_is_folded_into_the_constant_and_stands_for_all():
    runs = planted.swarm()
    fitted = AdditiveScaling().fit(runs, RNG)
    assert (fitted.terms.amplitude == 0).all()
    here, elsewhere, unknown = (fitted.predict(runs.p, s) for s in (Scale(1e6, 1e9), Scale(1e9, 1e13), Scale.unknown()))
    assert np.array_equal(here.mean, elsewhere.mean)
    assert np.array_equal(here.mean, unknown.mean)
    assert np.array_equal(here.std, elsewhere.std)


def test_the_joint_law_leaves_one_scale_to_the_additive_law():
    with pytest.raises(TooFewRuns, match=r"2 or more different scales .* it is the additive law"):
        JointScaling().fit(planted.swarm(), RNG)


def test_an_unknown_size_is_taken_as_the_geometric_mean_of_the_runs():
    fitted = AdditiveScaling().fit(runs_of(), RNG)
    p, middle = np.full(3, 1 / 3), float(np.exp(np.log([3e6, 1e7, 3e7, 1e8]).mean()))
    known, unknown = (fitted.predict(p, Scale(size, 2e9)).mean for size in (middle, np.nan))
    assert np.allclose(known, unknown)


def test_a_target_measured_at_one_size_has_no_term_in_the_size():
    runs = runs_of(noise=0.002)
    losses = runs.losses.copy()
    losses[runs.model_params > 3e6, 1] = np.nan
    fitted = AdditiveScaling().fit(replace(runs, losses=losses), RNG)
    assert fitted.terms.amplitude[1, 0] == 0
    assert (fitted.terms.amplitude[0] > 0).all()
    assert fitted.terms.amplitude[1, 1] > 0


def test_sizes_that_some_run_does_not_tell_are_left_out():
    runs = runs_of(noise=0.002)
    params = runs.model_params.copy()
    params[0] = np.nan
    fitted = AdditiveScaling().fit(replace(runs, model_params=params), RNG)
    assert fitted.axes.varies.tolist() == [False, True]
    assert (fitted.terms.amplitude[:, 0] == 0).all()


def test_few_sparse_runs_do_not_make_a_domain_infinitely_bad():
    rng = np.random.default_rng(4)
    p = planted.mixtures(20, 16, rng, concentration=0.05)
    losses = 3 + 0.3 * rng.normal(size=(20, 2))
    corners = AdditiveScaling().fit(planted.observe(p, losses), RNG).predict(np.eye(16), Scale.unknown()).mean
    assert corners.max() < 3 * losses.max()


@both_laws
def test_a_diverged_run_does_not_bend_the_law(law):
    runs = runs_of(noise=0.005, mixes=10)
    spoiled = runs.losses.copy()
    spoiled[7] = 1e4
    clean = law.fit(runs, RNG).predict(runs.p, runs.scale).mean
    robust = law.fit(replace(runs, losses=spoiled), RNG).predict(runs.p, runs.scale).mean
    assert np.abs(clean - robust).mean() < 0.005


@pytest.mark.parametrize("name", ["additive", "joint"])
def test_the_jacobian_of_the_fit_equals_finite_differences(name):
    data = ScalingData.of(runs_of(mixes=3))
    plain = additive_problem(data)
    problem = plain if name == "additive" else joint_problem(data, plain.starts[0])
    rng = np.random.default_rng(3)
    theta = problem.starts[0] * rng.uniform(0.7, 1.2, problem.starts[0].shape) + 0.01
    both = np.arange(2)
    value, jacobian = problem.model(theta, both)
    for m in range(theta.shape[1]):
        move = 1e-6 * np.eye(theta.shape[1])[m]
        slope = (problem.model(theta + move, both)[0] - problem.model(theta - move, both)[0]) / 2e-6
        assert np.allclose(jacobian[:, :, m], slope, rtol=1e-4, atol=1e-6 * np.abs(value).max())


# Mean relative errors in % on the runs that were fitted, models of up to 1.4B parameters (arXiv 2507.09404).
PUBLISHED_TRAIN = {
    "arxiv": 0.50,
    "book": 0.29,
    "c4": 0.29,
    "github": 0.65,
    "commoncrawl": 0.29,
    "stackexchange": 0.51,
    "wikipedia": 0.92,
}


def slimpajama(public_table) -> Observations:
    """The runs from 4 billion tokens on: before, the losses still fall from the start of training."""
    runs = read_swarm(public_table("slimpajama_nd")).runs
    return runs.rows(runs.train_tokens >= 4e9)


def relative_error(law, fit_to: Observations, judged: Observations) -> dict[str, float]:
    guess = law.fit(fit_to, RNG).predict(judged.p, judged.scale).mean
    error = 100 * np.nanmean(np.abs(guess - judged.losses) / judged.losses, axis=0)
    return dict(zip(judged.targets.names, error.tolist(), strict=True))


def test_the_additive_law_has_the_published_training_errors(public_table):
    runs = slimpajama(public_table)
    error = relative_error(AdditiveScaling(), runs, runs)
    for target, published in PUBLISHED_TRAIN.items():
        assert error[target] <= published + 0.1, target


def test_the_joint_law_has_smaller_errors_than_the_additive_one_on_every_target(public_table):
    runs = slimpajama(public_table)
    joint, additive = (relative_error(law, runs, runs) for law in (JointScaling(), AdditiveScaling()))
    assert all(joint[target] < additive[target] for target in joint)


@both_laws
def test_the_largest_size_is_predicted_from_the_smaller_ones(law, public_table):
    runs = slimpajama(public_table)
    largest = runs.model_params == runs.model_params.max()
    error = relative_error(law, runs.rows(~largest), runs.rows(largest))
    assert error["c4"] < 0.7
    assert error["book"] < 0.7
    assert max(error.values()) < 2.0
