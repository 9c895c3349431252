"""The capacity-allocation law: the optimum it rests on, its published parameters, and recovery of planted ones."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import brentq, minimize

from mixers.laws.capacity import Capacity, FittedCapacity
from mixers.laws.capacity_curves import Curves
from mixers.laws.noise import Noise
from mixers.laws.scale_terms import ScaleAxes
from mixers.laws.water_filling import allocate
from mixers.types import Observations, Scale
from tests.mixers import planted

RNG = np.random.default_rng(0)

# The parameters that the authors print for 7 domains, with N in million parameters and D in billion tokens.
PUBLISHED_B = np.array([1.2931, 0.2504, 0.7759, 4.2533, 0.8209, 2.1420, 0.9245])
PUBLISHED_C = np.array([6.1217, 3.3571, 7.8612, 7.3098, 2.3083, 3.8489, 2.3059])
PUBLISHED_A = np.array([0.3931, 0.4080, 0.7319, 1.2868, 0.7130, 2.0230, 0.8802])
PUBLISHED_TOKEN_EXPONENT = np.array([0.9685, 1.6999, 0.3088, 0.0827, 1.0596, 0.0777, 0.5132])
PUBLISHED_E = np.array([0.9448, 0.8770, 0.5612, 0, 2.4074, 0.0001, 1.3406])
PUBLISHED_H = 4.877181
N, D = 1300.0, 30.0


def law_of(b, c, token_exponent, amplitude, constant, least, reference=(1e6, 1e9)) -> FittedCapacity:
    """A fitted law with these parameters, a target a domain, believed everywhere."""
    k = len(b)
    nothing = np.full(k, 1e-12)
    curves = Curves(np.log(c), b, np.log(amplitude), token_exponent, least, nothing, nothing)
    axes = ScaleAxes(np.array(reference), np.array([True, True]))
    noise = Noise.of(np.random.default_rng(0).dirichlet(np.ones(k), 30), np.full(k, 0.01))
    names = tuple(f"d{j}" for j in range(k))
    m = 4 * k + 1
    return FittedCapacity(names, names, constant, np.eye(k), curves, axes, np.zeros((m, m)), np.zeros((k, m)), noise)


def published() -> FittedCapacity:
    amplitude, constant = PUBLISHED_A, PUBLISHED_E
    return law_of(PUBLISHED_B, PUBLISHED_C, PUBLISHED_TOKEN_EXPONENT, amplitude, constant, PUBLISHED_H)


def published_capacities(p: np.ndarray, size: float = N) -> np.ndarray:
    rows = np.atleast_2d(p)
    with np.errstate(divide="ignore"):
        gain = np.log(rows * PUBLISHED_B * PUBLISHED_C)
    return allocate(gain, PUBLISHED_B, np.full(len(rows), size), np.full(len(rows), PUBLISHED_H)).x


def test_published_parameters_divide_the_capacity_by_equal_marginal_worth():
    p = np.concatenate([np.full((1, 7), 1 / 7), planted.mixtures(200, 7, np.random.default_rng(1), 0.3)])
    x = published_capacities(p)
    assert np.allclose(x.sum(axis=1), N + 6 * PUBLISHED_H, rtol=1e-12)
    assert (x >= PUBLISHED_H).all()
    worth = p * PUBLISHED_B * PUBLISHED_C * x ** -(1 + PUBLISHED_B)
    free = x > PUBLISHED_H * (1 + 1e-9)
    assert free[0].sum() >= 2
    assert not free.all()  # some domain is held at the least capacity in some mixture
    price = np.where(free, worth, 0.0).max(axis=1, keepdims=True)
    assert np.allclose(np.where(free, worth / price, 1.0), 1.0, atol=1e-9)
    assert (np.where(free, 0.0, worth) <= price * (1 + 1e-9)).all()


def test_published_parameters_give_the_capacities_of_a_root_search():
    p = planted.mixtures(20, 7, np.random.default_rng(2))

    def at(q: float, row: np.ndarray) -> np.ndarray:
        return np.maximum(PUBLISHED_H, (row * PUBLISHED_B * PUBLISHED_C / np.exp(q)) ** (1 / (1 + PUBLISHED_B)))

    for row, ours in zip(p, published_capacities(p), strict=True):
        q = brentq(lambda q, row=row: at(q, row).sum() - N - 6 * PUBLISHED_H, -100, 100, xtol=1e-13)
        assert np.allclose(ours, at(q, row), rtol=1e-9)


def test_no_other_division_of_the_capacity_has_a_smaller_loss():
    p = np.array([0.3, 0.05, 0.2, 0.1, 0.15, 0.1, 0.1])
    ours = published_capacities(p)[0]

    def loss(x: np.ndarray) -> float:
        return float((p * PUBLISHED_C * x**-PUBLISHED_B).sum())

    total = {"type": "eq", "fun": lambda x: (x.sum() - N - 6 * PUBLISHED_H) / N}
    bounds = [(PUBLISHED_H, None)] * 7
    other = minimize(loss, np.full(7, N / 7), method="SLSQP", bounds=bounds, constraints=total, options={"ftol": 1e-14})
    assert loss(ours) <= other.fun + 1e-9


def test_published_parameters_predict_losses_that_obey_the_laws_limits():
    law, scale = published(), Scale(1.3e9, 30e9)
    p = planted.mixtures(100, 7, np.random.default_rng(3))
    losses = law.predict(p, scale).mean
    x = published_capacities(p)
    by_hand = PUBLISHED_C * x**-PUBLISHED_B + PUBLISHED_A * (D * p) ** -PUBLISHED_TOKEN_EXPONENT + PUBLISHED_E
    assert np.allclose(losses, by_hand, rtol=1e-12)
    assert (losses > PUBLISHED_E).all()
    more_tokens, larger = (law.predict(p, s).mean for s in (Scale(1.3e9, 60e9), Scale(2.6e9, 30e9)))
    assert (more_tokens < losses).all()
    assert (larger <= losses).all()
    endless = law.predict(p, Scale(1.3e9, 1e300)).mean[:, :3]
    assert np.allclose(endless, (by_hand - PUBLISHED_A * (D * p) ** -PUBLISHED_TOKEN_EXPONENT)[:, :3], atol=1e-6)


def test_a_domain_that_has_every_token_gets_the_whole_model():
    assert np.allclose(published_capacities(np.eye(7)), PUBLISHED_H + (N - PUBLISHED_H) * np.eye(7))


def curves(k: int = 4) -> Curves:
    rng = np.random.default_rng(4)
    exponents = rng.uniform(0.2, 0.9, (2, k))
    amplitudes = np.log(rng.uniform(0.5, 2.0, (2, k)))
    return Curves(amplitudes[0], exponents[0], amplitudes[1], exponents[1], 0.06, np.full(k, 0.02), np.full(k, 1e-9))


def test_derivatives_of_the_curves_equal_finite_differences():
    rng = np.random.default_rng(5)
    known, p, ratio = curves(), planted.mixtures(12, 4, rng, 0.7), rng.normal(0, 0.3, (12, 2))
    weight, step = rng.uniform(0, 1, (1, 3, 4)), 1e-6
    points = known.at(p, ratio)
    assert (~points.allocation.free).any()  # both kinds of domain are tested
    theta = np.concatenate([known.log_c, known.b, known.log_a, known.a, [np.log(known.least)]])

    def value(theta: np.ndarray, p: np.ndarray) -> np.ndarray:
        log_c, b, log_a, a = theta[:16].reshape(4, 4)
        moved = replace(known, log_c=log_c, b=b, log_a=log_a, a=a, least=float(np.exp(theta[16])))
        return moved.at(p, ratio).losses @ weight[0].T

    slopes = points.by_parameters(weight)
    for m in range(17):
        move = step * np.eye(17)[m]
        known_slope = (value(theta + move, p) - value(theta - move, p)) / (2 * step)
        assert np.allclose(slopes[:, :, m], known_slope, atol=1e-7)
    by_shares = points.by_shares(weight)
    for j in range(4):
        move = step * np.eye(4)[j] * p
        known_slope = (value(theta, p + move) - value(theta, p - move)) / (2 * step * p[:, j, None])
        assert np.allclose(by_shares[:, :, j], known_slope, rtol=1e-5, atol=1e-5)


def planted_law() -> FittedCapacity:
    """Three domains, in units of 100 M parameters and 10 B tokens."""
    b, c = np.array([0.3, 0.6, 0.9]), np.array([0.8, 0.5, 0.3])
    token_exponent, amplitude = np.array([0.5, 0.3, 0.4]), np.array([0.2, 0.4, 0.3])
    return law_of(b, c, token_exponent, amplitude, np.array([1.5, 1.0, 0.7]), 0.05, (1e8, 1e10))


def planted_runs(noise: float = 0.0, mixes: int = 12, extra: np.ndarray | None = None) -> Observations:
    """Runs of the planted law at 3 sizes and 3 token counts; ``extra`` weighs the domains' losses into one target."""
    p = np.repeat(planted.mixtures(mixes, 3, np.random.default_rng(6), 1.5), 9, axis=0)
    params = np.tile(np.repeat([0.5e8, 1e8, 2e8], 3), mixes)
    tokens = np.tile([0.5e10, 1e10, 2e10], 3 * mixes)
    losses = planted_law().predict(p, Scale(params, tokens)).mean
    names = ("d0", "d1", "d2")
    if extra is not None:
        losses, names = np.concatenate([losses, losses @ extra[:, None]], axis=1), (*names, "benchmark")
    losses = losses + np.random.default_rng(7).normal(0, 1, losses.shape) * noise
    return planted.observe(p, losses, params=params, tokens=tokens, names=names)


def test_a_planted_law_is_recovered():
    runs = planted_runs()
    fitted = Capacity().fit(runs, RNG)
    assert np.allclose(fitted.weights, np.eye(3))
    assert np.allclose(fitted.constant, planted_law().constant, atol=0.01)
    for name in ("log_c", "b", "log_a", "a"):
        assert np.allclose(getattr(fitted.curves, name), getattr(planted_law().curves, name), atol=0.02), name
    assert fitted.curves.least == pytest.approx(0.05, rel=0.01)
    assert np.abs(fitted.predict(runs.p, runs.scale).mean - runs.losses).max() < 0.01
    p = planted.mixtures(50, 3, np.random.default_rng(8), 1.5)
    scale = Scale(1e8, 1e10)
    assert np.abs(fitted.predict(p, scale).mean - planted_law().predict(p, scale).mean).mean() < 5e-3


def test_a_fit_on_small_scales_predicts_one_four_times_larger():
    runs = planted_runs(noise=0.003)
    fitted = Capacity().fit(runs, RNG)
    p, scale = np.unique(runs.p, axis=0), Scale(8e8, 8e10)
    guess, known = fitted.predict(p, scale), planted_law().predict(p, scale).mean
    near = fitted.predict(p, Scale(1e8, 1e10))
    assert np.abs(guess.mean - known).mean() < 0.02
    assert (np.abs(guess.mean - known) < 3 * guess.std).mean() > 0.95
    assert (guess.std.mean(axis=0) > near.std.mean(axis=0)).all()


def test_a_target_that_is_no_domain_is_a_sum_of_the_domains_curves():
    share = np.array([0.7, 0.0, 0.3])
    runs = planted_runs(noise=0.001, extra=share)
    fitted = Capacity().fit(runs, RNG)
    assert np.abs(fitted.predict(runs.p, runs.scale).mean - runs.losses)[:, 3].mean() < 0.005
    assert np.allclose(fitted.weights[:3], np.eye(3))
    assert fitted.weights[3, 1] < 0.1 < fitted.weights[3, 2] < fitted.weights[3, 0]


def test_a_target_measured_in_few_runs_still_has_its_own_curve():
    runs = planted_runs(noise=0.002)
    losses = runs.losses.copy()
    losses[::3, 1] = np.nan
    losses[1::3, 2] = np.nan
    fitted = Capacity().fit(replace(runs, losses=losses), RNG)
    assert np.abs(fitted.predict(runs.p, runs.scale).mean - runs.losses).mean() < 0.01


def test_a_diverged_run_does_not_bend_the_capacity_law():
    runs = planted_runs(noise=0.003)
    spoiled = runs.losses.copy()
    spoiled[7] = 1e4
    robust = Capacity().fit(replace(runs, losses=spoiled), RNG).predict(runs.p, runs.scale).mean
    assert np.abs(robust - planted_law().predict(runs.p, runs.scale).mean).mean() < 0.01


def test_one_scale_stands_for_all():
    runs = planted_runs()
    one = runs.rows((runs.model_params == 1e8) & (runs.train_tokens == 1e10))
    fitted = Capacity().fit(one, RNG)
    here, elsewhere = (fitted.predict(one.p, s) for s in (Scale(1e8, 1e10), Scale(1e6, 1e13)))
    assert np.array_equal(here.mean, elsewhere.mean)
    assert np.array_equal(here.std, elsewhere.std)


def test_few_sparse_runs_do_not_make_a_domain_infinitely_bad():
    rng = np.random.default_rng(4)
    p = planted.mixtures(20, 16, rng, concentration=0.05)
    losses = 3 + 0.3 * rng.normal(size=(20, 2))
    corners = Capacity().fit(planted.observe(p, losses, names=("d0", "d1")), RNG)
    assert corners.predict(np.eye(16), Scale.unknown()).mean.max() < 3 * losses.max()


def test_many_domains_with_vanishing_shares_are_fitted():
    p = np.random.default_rng(0).dirichlet(np.full(48, 0.02), size=80)
    assert p[p > 0].min() < 1e-150
    losses = 2 + p @ np.linspace(0, 1, 48)[:, None] + 0.01 * np.random.default_rng(1).normal(size=(80, 2))
    fitted = Capacity().fit(planted.observe(p, losses), RNG)
    assert np.abs(fitted.predict(p, Scale.unknown()).mean - losses).mean() < 0.2
    assert np.isfinite(fitted.predict(np.eye(48), Scale.unknown()).mean).all()


def test_a_large_table_is_fitted_to_some_of_its_runs(monkeypatch):
    runs = planted_runs(noise=0.003, mixes=40)
    losses = runs.losses.copy()
    losses[20:, 2] = np.nan
    runs = replace(runs, losses=losses)
    monkeypatch.setattr("mixers.laws.capacity.FIT_ROWS", 120)
    monkeypatch.setattr("mixers.laws.capacity._LEAST_ROWS", 15)
    few, again = Capacity().fit(runs, RNG), Capacity().fit(runs, RNG)
    assert few.noise.runs < 140
    known, guess = planted_law().predict(runs.p, runs.scale).mean, few.predict(runs.p, runs.scale).mean
    assert np.abs(guess - known)[:, :2].mean() < 0.005
    assert np.array_equal(guess, again.predict(runs.p, runs.scale).mean)


def test_a_model_smaller_than_the_least_capacity_is_still_predicted():
    tiny = planted_law().predict(np.eye(3), Scale(1e5, 1e10))
    assert np.isfinite(tiny.mean).all()
    assert (tiny.mean >= planted_law().predict(np.eye(3), Scale(1e8, 1e10)).mean).all()


@pytest.mark.parametrize("count", [1, 5])
def test_many_mixtures_are_predicted_in_pieces_as_one_by_one(count, monkeypatch):
    runs = planted_runs(noise=0.003)
    fitted = Capacity().fit(runs, RNG)
    whole = fitted.predict(runs.p, runs.scale)
    monkeypatch.setattr("mixers.laws.capacity._CHUNK", count * 3 * 13)
    pieces = fitted.predict(runs.p, runs.scale)
    assert np.allclose(whole.mean, pieces.mean, rtol=1e-12)
    assert np.allclose(whole.std, pieces.std, rtol=1e-12)
