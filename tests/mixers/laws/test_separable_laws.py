"""The laws that add up one curve a domain: what was planted is recovered, and they agree with what is known of them."""

import numpy as np
import pytest

from mixers.laws.bimix import BiMix
from mixers.laws.bimix_multi import BiMixMulti
from mixers.laws.shares import ShareCurves, share_floor, share_power
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
