"""Each law recovers what was planted, and agrees with what is known about it."""

import lightgbm
import numpy as np
import pytest
from scipy.optimize import curve_fit

from mixers.errors import InvalidInput
from mixers.laws import find_law
from mixers.laws.bimix import BiMix
from mixers.laws.log_linear import LogLinear
from mixers.laws.noise import Noise
from mixers.laws.regmix_linear import RegMixLinear
from mixers.types import Scale
from tests.mixers import planted

SCALE = Scale(np.float64(1e6), np.float64(1e9))
RNG = np.random.default_rng(0)


def test_log_linear_recovers_planted_parameters_without_noise():
    rng = np.random.default_rng(3)
    p = planted.mixtures(200, 4, rng)
    losses, c, a, b = planted.log_linear(p, 3, rng)
    fitted = LogLinear().fit(planted.observe(p, losses), RNG)
    assert np.abs(fitted.predict(p, SCALE).mean - losses).max() < 2e-3
    # The gauge: a constant moves between a and b, so the slopes are compared after centring.
    slopes = fitted.b - fitted.b.mean(axis=1, keepdims=True)
    assert np.abs(slopes - b).max() < 0.05
    assert np.abs(fitted.c - c).max() < 0.05
    assert np.abs(fitted.a + fitted.b.mean(axis=1) - a).max() < 0.05


def test_log_linear_stays_finite_and_near_the_data_on_sparse_few_runs():
    rng = np.random.default_rng(4)
    p = planted.mixtures(20, 16, rng, concentration=0.05)
    losses = 3 + 0.3 * rng.normal(size=(20, 2))
    corners = LogLinear().fit(planted.observe(p, losses), RNG).predict(np.eye(16), SCALE).mean
    assert corners.max() < 3 * losses.max()


def test_a_diverged_run_does_not_bend_the_log_linear_law():
    runs = planted.swarm(80, noise=0.005)
    spoiled = runs.losses.copy()
    spoiled[7] = 1e4
    clean = LogLinear().fit(runs, RNG).predict(runs.p, SCALE).mean
    robust = LogLinear().fit(planted.observe(runs.p, spoiled), RNG).predict(runs.p, SCALE).mean
    assert np.abs(clean - robust).mean() < 0.02


def test_linear_recovers_a_plane_exactly():
    rng = np.random.default_rng(5)
    p, slope = planted.mixtures(30, 5, rng), rng.normal(size=(2, 5))
    fitted = RegMixLinear().fit(planted.observe(p, 4 + p @ slope.T), RNG)
    queries = planted.mixtures(20, 5, rng)
    assert np.allclose(fitted.predict(queries, SCALE).mean, 4 + queries @ slope.T)


def test_lightgbm_is_the_published_regression():
    runs = planted.swarm(100)
    booster = lightgbm.train(
        {"objective": "regression", "learning_rate": 0.01, "seed": 42, "verbosity": -1, "num_threads": 1},
        lightgbm.Dataset(runs.p, runs.losses[:, 1]),
        num_boost_round=1000,
    )
    ours = find_law("regmix_lightgbm").fit(runs, RNG).predict(runs.p, SCALE).mean[:, 1]
    assert np.allclose(ours, booster.predict(runs.p), atol=1e-9)


def bimix_truth(share, tokens, a=2.0, alpha=0.12, b=30.0, beta=0.3, c=0.6):
    return a * share**-alpha * (b * (tokens / 1e9) ** -beta / 30 + c)


def test_bimix_recovers_its_exponents_in_share_and_tokens():
    rng = np.random.default_rng(6)
    p = np.repeat(planted.mixtures(12, 3, rng, 2.0), 6, axis=0)
    tokens = np.tile(np.geomspace(1e9, 1e11, 6), 12)
    losses = np.stack([bimix_truth(p[:, j], tokens) for j in range(3)], axis=1)
    fitted = BiMix().fit(planted.observe(p, losses, tokens=tokens, names=("d0", "d1", "d2")), RNG)
    assert fitted.own.tolist() == [0, 1, 2]
    assert np.allclose(fitted.theta[:, 1], 0.12, atol=1e-3)
    assert np.allclose(fitted.theta[:, 3], 0.3, atol=0.02)
    later = Scale(np.float64(1e6), np.float64(1e12))
    assert np.allclose(fitted.predict(p[:1], later).mean[0], bimix_truth(p[0], 1e12), rtol=5e-3)


def test_bimix_agrees_with_scipy_on_one_noisy_domain():
    rng = np.random.default_rng(7)
    p = planted.mixtures(40, 2, rng, 2.0)
    y = 2.5 * p[:, 0] ** -0.15 + rng.normal(0, 0.01, 40)
    fitted = BiMix().fit(planted.observe(p, y[:, None], names=("d0",)), RNG)
    known, _ = curve_fit(lambda r, k, alpha: k * r**-alpha, p[:, 0], y, p0=[2.0, 0.1])
    assert np.exp(fitted.theta[0, 0]) == pytest.approx(known[0], rel=5e-3)
    assert fitted.theta[0, 1] == pytest.approx(known[1], abs=5e-3)


def test_bimix_finds_the_domain_of_a_target_that_is_no_domain():
    rng = np.random.default_rng(8)
    p = planted.mixtures(40, 4, rng, 2.0)
    fitted = BiMix().fit(planted.observe(p, 3 * p[:, 2:3] ** -0.2, names=("benchmark",)), RNG)
    assert fitted.own.tolist() == [2]


def test_bimix_refuses_losses_that_are_not_positive():
    runs = planted.swarm()
    with pytest.raises(InvalidInput, match="positive losses; target 't1'"):
        BiMix().fit(planted.observe(runs.p, runs.losses * [1, -1, 1]), RNG)


def test_the_standard_deviation_grows_away_from_the_runs():
    rng = np.random.default_rng(9)
    p = planted.mixtures(50, 3, rng, 20.0)
    noise = Noise.of(p, np.ones(1))
    centre, corner = noise.std(p.mean(axis=0))[0], noise.std(np.array([1.0, 0.0, 0.0]))[0]
    assert centre == pytest.approx(np.sqrt(1 + 1 / 50))
    assert corner > 1.5 * centre


def test_the_standard_deviation_of_a_linear_model_is_the_textbooks():
    rng = np.random.default_rng(10)
    p = planted.mixtures(200, 3, rng)
    design = np.concatenate([np.ones((200, 1)), p[:, :2]], axis=1)  # the weights sum to 1: two are free
    query = np.array([0.7, 0.2, 0.1])
    x = np.array([1.0, 0.7, 0.2])
    known = np.sqrt(1 + x @ np.linalg.inv(design.T @ design) @ x)
    assert Noise.of(p, np.ones(1)).std(query)[0] == pytest.approx(known, rel=1e-4)


def test_beyond_the_runs_log_linear_goes_on_along_its_tangent():
    rng = np.random.default_rng(11)
    p = planted.mixtures(60, 3, rng, 20.0)  # all near the centre
    losses, *_ = planted.log_linear(p, 1, rng)
    fitted = LogLinear().fit(planted.observe(p, losses), RNG)
    worst = int(np.argmax(fitted.b[0]))
    path = p.mean(axis=0) + np.linspace(0, 1, 101)[:, None] * (np.eye(3)[worst] - p.mean(axis=0))
    curve = fitted.predict(path, SCALE).mean[:, 0]
    exponent = fitted.a[0] + path @ fitted.b[0]
    inside = exponent <= fitted.edge[0]
    assert np.allclose(curve[inside], fitted.c[0] + np.exp(exponent[inside]))
    beyond = curve[~inside]
    assert len(beyond) > 20
    assert np.allclose(np.diff(beyond), np.diff(beyond)[0])  # a straight line ...
    slope = np.exp(fitted.edge[0]) * (exponent[1] - exponent[0])
    assert np.diff(beyond)[0] == pytest.approx(slope)  # ... with the slope of the curve where it ends
