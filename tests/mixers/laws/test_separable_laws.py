"""The laws that add up one curve a domain: what was planted is recovered, and they agree with what is known of them."""

import numpy as np
import pytest

from mixers.laws.autoscale import AutoScale
from mixers.laws.bimix import BiMix
from mixers.laws.bimix_multi import BiMixMulti
from mixers.laws.box_cox import BoxCox
from mixers.laws.effective_data import EffectiveData, FittedEffectiveData
from mixers.laws.noise import Noise
from mixers.laws.shares import ShareCurves, share_floor, share_power
from mixers.objectives import Objective
from mixers.optimizers import minimize_objective
from mixers.separable import autoscale_optimum
from mixers.simplex import FeasibleSet
from mixers.types import Scale
from tests.mixers import planted

SCALE = Scale(np.float64(1e6), np.float64(1e9))
RNG = np.random.default_rng(0)


def test_the_power_of_a_share_is_continued_along_its_tangent():
    share, floor, alpha, step = np.array([0.4, 0.05]), np.array(0.1), np.array([0.5]), 1e-6
    value, by_share, by_alpha = share_power(share, floor, alpha)
    assert np.allclose(value, [0.4**-0.5, 0.1**-0.5 * 1.25])
    ahead, behind = (share_power(share + s * step, floor, alpha)[0] for s in (1, -1))
    assert np.allclose(by_share, (ahead - behind) / (2 * step), rtol=1e-6)
    ahead, behind = (share_power(share, floor, alpha + s * step)[0] for s in (1, -1))
    assert np.allclose(by_alpha, (ahead - behind) / (2 * step), rtol=1e-6)


@pytest.mark.parametrize("alpha", [-0.9, -0.2, 0.0, 0.5, 2.0])
def test_share_curves_are_box_cox_curves_of_the_power(alpha):
    share, floor, step = np.array([[0.4, 0.05]]), np.array([0.1, 0.1]), 1e-6
    curves = ShareCurves.of(share, floor)
    known = (share_power(share, floor, np.array(alpha))[0] - 1) / alpha if alpha else [-np.log([0.4, 0.1]) + [0, 0.5]]
    assert np.allclose(curves.value(np.array(alpha)), known, atol=1e-2 if alpha == 0 else 1e-12)
    ahead, behind = (ShareCurves.of(share + s * step, floor).value(np.array(alpha)) for s in (1, -1))
    assert np.allclose(curves.slope(np.array(alpha)), (ahead - behind) / (2 * step), rtol=1e-6)
    value, by_alpha = curves.value_and_by_alpha(np.array(alpha + 0.01))
    assert np.array_equal(value, curves.value(np.array(alpha + 0.01)))
    ahead, behind = (curves.value(np.array(alpha + 0.01 + s * step)) for s in (1, -1))
    assert np.allclose(by_alpha, (ahead - behind) / (2 * step), rtol=1e-5)


def test_the_floor_is_half_of_the_smallest_share_that_was_trained():
    assert share_floor(np.array([[0.2, 0.8, 0.0], [0.0, 1.0, 0.0]])).tolist() == [0.1, 0.4, 0.5]
    assert share_floor(np.array([[1e-200, 1.0], [0.0, 1.0]])).tolist() == [5e-7, 0.5]


def test_bimix_multi_recovers_the_exponent_of_each_domain():
    rng = np.random.default_rng(0)
    p = planted.mixtures(300, 3, rng, 3.0)
    front, alpha = np.array([[0.5, 0.2, 0.0], [0.1, 0.4, 0.3]]), np.array([[0.2, 0.6, 0.3], [0.5, 0.3, 0.1]])
    losses = 1 + np.stack([(front[i] * p ** -alpha[i]).sum(axis=1) for i in range(2)], axis=1)
    fitted = BiMixMulti().fit(planted.observe(p, losses), RNG)
    assert np.abs(fitted.predict(p, SCALE).mean - losses).max() < 5e-3
    slope = front * alpha * fitted.usual_share**-alpha
    assert np.allclose(fitted.slope, slope, atol=0.02)
    told = slope > 0.05  # an exponent is only shown by a domain that matters
    assert np.abs(fitted.alpha - alpha)[told].max() < 0.1


def test_bimix_multi_of_one_domain_that_matters_is_bimix():
    rng = np.random.default_rng(1)
    p = np.repeat(planted.mixtures(30, 3, rng, 2.0), 4, axis=0)
    tokens = np.tile(np.geomspace(1e9, 3e10, 4), 30)
    losses = (2 * p[:, :1] ** -0.3) * (0.4 + 0.6 * (tokens[:, None] / 1e9) ** -0.3)
    runs = planted.observe(p, losses, tokens=tokens, names=("d0",))
    multi, single = (law.fit(runs, RNG) for law in (BiMixMulti(), BiMix()))
    later = Scale(np.float64(1e6), np.float64(1e11))
    assert np.allclose(multi.predict(p, runs.scale).mean, losses, rtol=0.01)
    assert np.allclose(multi.predict(p, later).mean, single.predict(p, later).mean, rtol=0.02)


def test_box_cox_finds_that_a_target_is_nearly_straight_in_the_shares():
    rng = np.random.default_rng(2)
    p = planted.mixtures(200, 4, rng, 2.0)
    straight = 3 + p @ np.array([[0.5], [-0.2], [0.1], [-0.6]])
    runs = planted.observe(p, straight)
    box_cox, power = (law.fit(runs, RNG) for law in (BoxCox(), BiMixMulti()))
    error, of_powers = (np.abs(law.predict(p, SCALE).mean - straight).mean() for law in (box_cox, power))
    assert error < 0.01  # -0.9 is not quite -1; the spread of the losses is 0.15
    assert of_powers > 5 * error
    assert box_cox.alpha[0, 1:] == pytest.approx(-0.9)


def effective_loss(p, tokens, own, transfer, alpha=0.6, beta=0.4):
    data = (p * tokens[:, None] / 1e9) ** alpha @ np.array(transfer)
    if own is not None:
        data = data + p[:, own] * tokens / 1e9
    return 1.2 + 0.8 * data**-beta


def test_effective_data_recovers_what_other_domains_are_worth():
    rng = np.random.default_rng(3)
    p = np.repeat(planted.mixtures(80, 3, rng, 2.0), 3, axis=0)
    tokens = np.tile([0.5e9, 1e9, 2e9], 80)
    losses = np.stack(
        [effective_loss(p, tokens, 0, [0, 0.3, 0.0]), effective_loss(p, tokens, None, [0.4, 0.1, 0.8])], axis=1
    )
    fitted = EffectiveData().fit(planted.observe(p, losses, tokens=tokens, names=("d0", "benchmark")), RNG)
    assert np.abs(fitted.predict(p, Scale(np.nan, tokens)).mean - losses).max() < 0.01
    assert fitted.own.tolist() == [[True, False, False], [False] * 3]
    assert fitted.transfer[0, 0] == 0
    assert fitted.transfer[0, 1] == pytest.approx(0.3, abs=0.05)
    assert fitted.transfer[0, 2] < 0.02
    assert fitted.alpha[0] == pytest.approx(0.6, abs=0.15)
    assert np.allclose(fitted.beta, 0.4, atol=0.05)
    # Only ratios of the transfers show where there is no own domain.
    assert np.allclose(fitted.transfer[1] / fitted.transfer[1].sum(), np.array([0.4, 0.1, 0.8]) / 1.3, atol=0.05)


def test_without_transfer_the_optimum_of_effective_data_is_that_of_bimix():
    k, rng = 4, np.random.default_rng(4)
    front, beta = rng.uniform(0.2, 1.0, k), rng.uniform(0.1, 0.6, k)
    domains = planted.domains(k)
    law = FittedEffectiveData(
        domains.names,
        domains.names,
        np.ones(k),
        front,
        beta,
        np.full(k, 0.7),
        np.zeros((k, k)),
        np.full(k, 1e-3),
        np.full(k, 1e-3),
        np.eye(k, dtype=bool),
        1e9,
        Noise.of(planted.mixtures(20, k, rng), np.ones(k)),
    )
    objective = Objective(law, SCALE, np.ones(k), 0.0, domains.prior)
    best = minimize_objective(objective, FeasibleSet.simplex(domains), rng).weights
    # D_i is proportional to (beta_i C_i / lambda)^(1 / (1 + beta_i)): one lambda for all domains.
    price = front * beta * best ** -(1 + beta)
    assert np.allclose(price, price.mean(), rtol=1e-3)


def test_autoscale_recovers_exponents_and_equivalent_data():
    rng = np.random.default_rng(5)
    p = np.repeat(planted.mixtures(120, 3, rng, 2.0), 3, axis=0)
    tokens = np.tile([0.5e9, 1e9, 2e9], 120)
    a, g = np.array([0.1, 0.4, 0.1]), np.array([0.5, 0.3, 0.0])
    unit = (tokens / 1e9)[:, None] / (a + p.mean(axis=0))
    losses = 2 + 0.8 * ((unit * (a + p)) ** -g).sum(axis=1, keepdims=True)
    fitted = AutoScale().fit(planted.observe(p, losses, tokens=tokens), RNG)
    assert np.abs(fitted.predict(p, Scale(np.nan, tokens)).mean - losses).max() < 0.01
    assert fitted.front[0] == pytest.approx(0.8, rel=0.1)
    assert np.allclose(fitted.exponent[0], g, atol=0.03)
    assert np.allclose(fitted.equivalent[0, :2], a[:2], atol=0.1)  # that of a domain without effect shows in nothing
    later = Scale(np.float64(np.nan), np.float64(1e10))
    assert np.allclose(
        fitted.predict(p[:9], later).mean,
        2 + 0.8 * ((10 / (a + p.mean(axis=0)) * (a + p[:9])) ** -g).sum(axis=1, keepdims=True),
        rtol=0.02,
    )


def test_the_optimum_of_a_fitted_autoscale_law_is_the_closed_form():
    rng = np.random.default_rng(6)
    p = planted.mixtures(60, 4, rng)
    domains = planted.domains(4)
    fitted = AutoScale().fit(planted.observe(p, 3 + (0.2 * (0.1 + p) ** -0.5) @ [[1.0], [0.5], [0.2], [0.1]]), RNG)
    objective = Objective(fitted, SCALE, np.ones(1), 0.0, domains.prior)
    best = minimize_objective(objective, FeasibleSet.simplex(domains), rng)
    a, g = fitted.equivalent[0], fitted.exponent[0]
    closed = autoscale_optimum(fitted.front[0] * (a + fitted.usual_share) ** g, g, a)
    assert float(objective.value(closed)) <= best.value + 1e-7
    assert np.allclose(closed, best.weights, atol=1e-3)


def test_a_sum_of_curves_levels_off_below_the_best_run_and_keeps_its_order():
    rng = np.random.default_rng(7)
    p = planted.mixtures(80, 12, rng, 0.15)
    p = np.where(p < 0.02, 0.0, p)  # sparse: no run has many domains
    p = p / p.sum(axis=1, keepdims=True)
    losses = 4 + 0.5 * ((p + 0.02) ** -0.3).mean(axis=1, keepdims=True)
    fitted = BoxCox().fit(planted.observe(p, losses), RNG)
    inside = fitted.predict(p, SCALE).mean
    path = p[0] + np.linspace(0, 1, 50)[:, None] * (np.full(12, 1 / 12) - p[0])
    beyond = fitted.predict(path, SCALE).mean[:, 0]
    assert beyond.min() < inside.min()
    assert beyond.min() >= inside.min() - 0.5 * np.ptp(inside)  # a quarter of the range, and a quarter more at most
    plain = (
        fitted.level[0]
        + ShareCurves.of(path / fitted.usual_share, fitted.floor).value(fitted.alpha[0]) @ (fitted.slope[0])
    )
    assert np.array_equal(np.argsort(plain), np.argsort(beyond))
    assert plain.min() < inside.min() - 0.6 * np.ptp(inside)  # the sum alone would promise more
