"""Best amounts in closed form, against their optimality conditions and AutoScale's printed numbers."""

import numpy as np
import pytest
from scipy.optimize import minimize

from mixers.errors import Infeasible, InvalidInput
from mixers.separable import autoscale_optimum, extrapolate_amounts

# The best amounts at .3 and 1.2 billion tokens that AutoScale's notebooks print, in sevenths of the total.
FIRST = np.array([1.5582, 0.2, 1.1646, 1.4233, 1.4955, 0.6818, 0.4765]) / 7 * 0.3
SECOND = np.array([1.6312, 0.2, 1.3018, 1.2143, 1.8327, 0.6201, 0.2]) / 7 * 1.2


def problem(k: int = 6, seed: int = 0):
    rng = np.random.default_rng(seed)
    return rng.uniform(0.1, 2, k), rng.uniform(0.1, 1.5, k), rng.uniform(0, 0.3, k)


def test_every_domain_inside_its_bounds_has_the_same_price():
    front, exponent, equivalent = problem()
    low, high = np.full(6, 0.05), np.full(6, 0.25)
    x = autoscale_optimum(front, exponent, equivalent, 1.0, low, high)
    assert x.sum() == pytest.approx(1.0, abs=1e-12)
    price = front * exponent * (x + equivalent) ** (-exponent - 1)
    free = (x > low + 1e-9) & (x < high - 1e-9)
    assert free.sum() >= 2
    assert np.allclose(price[free], price[free][0], rtol=1e-9)
    assert (price[x >= high - 1e-9] >= price[free][0] * (1 - 1e-9)).all()
    assert (price[x <= low + 1e-9] <= price[free][0] * (1 + 1e-9)).all()


def test_the_closed_form_is_no_worse_than_slsqp():
    front, exponent, equivalent = problem(seed=1)

    def loss(x):
        return float((front * (x + equivalent) ** -exponent).sum())

    x = autoscale_optimum(front, exponent, equivalent, 7.0)
    total = {"type": "eq", "fun": lambda x: x.sum() - 7.0}
    found = minimize(loss, np.full(6, 7 / 6), bounds=[(1e-6, 7)] * 6, constraints=[total], method="SLSQP", tol=1e-12)
    assert loss(x) <= found.fun + 1e-9
    assert np.allclose(x, found.x, atol=1e-3)


def test_equal_exponents_without_equivalent_data_follow_the_known_power():
    front = np.array([1.0, 2.0, 4.0])
    x = autoscale_optimum(front, np.full(3, 0.5), np.zeros(3))
    assert np.allclose(x, front ** (1 / 1.5) / (front ** (1 / 1.5)).sum())


def test_a_domain_without_effect_gets_nothing():
    assert autoscale_optimum(np.array([1.0, 0.0]), np.full(2, 0.5), np.array([0.1, 0.1])).tolist() == [1.0, 0.0]


def test_bounds_that_cannot_hold_and_wrong_parameters_are_refused():
    one = np.ones(2)
    with pytest.raises(Infeasible, match=r"the bounds allow 0 to 0\.8 in all, not 1"):
        autoscale_optimum(one, one, one, 1.0, None, np.full(2, 0.4))
    with pytest.raises(InvalidInput, match="exponents positive"):
        autoscale_optimum(one, np.array([0.5, 0.0]), one)
    with pytest.raises(InvalidInput, match="must be positive"):
        extrapolate_amounts(one, np.array([1.0, 0.0]), 2.0)


def test_the_scale_predictor_prints_what_autoscale_prints():
    third = extrapolate_amounts(FIRST, SECOND, 2.0)
    assert np.allclose(third, SECOND * SECOND / FIRST)
    # Each further step applies the recursion N^(n+1) = N^(n) N^(n) / N^(n-1) again. The amounts are printed with 4
    # decimals, which is 1e-4 of the sums.
    sums = [extrapolate_amounts(FIRST, SECOND, s).sum() for s in (2.0, 3.0, 4.0, 5.0)]
    assert np.allclose(sums, [5.0005, 21.389, 93.228, 412.44], rtol=1e-4)


def test_the_scale_predictor_interpolates_as_autoscale_does():
    assert extrapolate_amounts(FIRST, SECOND, 0.5).sum() == pytest.approx(0.5961, abs=5e-5)
