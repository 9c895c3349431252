"""The batched solver against SciPy, its bounds, and its leverages against the hat matrix of a linear model."""

import numpy as np
from scipy.optimize import least_squares

from mixers.fitting import LeastSquares, huber, keep_best, solve


def exponential(x: np.ndarray):
    def model(theta: np.ndarray, index: np.ndarray):
        del index  # the same x for every problem
        grown = np.exp(theta[:, 1:2] * x)
        return theta[:, :1] * grown, np.stack([grown, theta[:, :1] * x * grown], axis=2)

    return model


def problems(x, y, start, **changes) -> LeastSquares:
    b, n, m = len(y), y.shape[1], start.shape[1]
    fields = {
        "row_weight": np.ones((b, n)),
        "lower": np.full(m, -np.inf),
        "upper": np.full(m, np.inf),
        "centre": np.zeros((b, m)),
        "precision": np.zeros((b, m)),
        "delta": np.full(b, np.inf),
    }
    return LeastSquares(exponential(x), y, start=start, **(fields | changes))


def curves(b: int = 5):
    rng = np.random.default_rng(0)
    x = np.linspace(0, 2, 30)
    truth = np.stack([rng.uniform(0.5, 2, b), rng.uniform(-1, 1, b)], axis=1)
    clean = truth[:, :1] * np.exp(truth[:, 1:] * x)
    return x, truth, clean, clean + rng.normal(0, 0.05, clean.shape)


def test_planted_parameters_of_every_problem_are_recovered():
    x, truth, clean, _ = curves()
    fit = solve(problems(x, clean, np.tile([1.0, 0.0], (5, 1))))
    assert np.allclose(fit.theta, truth, atol=1e-6)


def test_robust_fits_agree_with_scipy_problem_by_problem():
    x, _, _, noisy = curves()
    noisy[:, 3] += 5.0  # an outlier in every problem
    delta = 0.1
    fit = solve(problems(x, noisy, np.tile([1.0, 0.0], (5, 1)), delta=np.full(5, delta)), max_steps=300)
    for theta, y in zip(fit.theta, noisy, strict=True):
        known = least_squares(lambda q, y=y: q[0] * np.exp(q[1] * x) - y, [1.0, 0.0], loss="huber", f_scale=delta)
        assert np.allclose(theta, known.x, atol=2e-3)


def test_bounds_hold_and_the_bounded_optimum_is_scipys():
    x, _, _, noisy = curves()
    lower, upper = np.array([0.0, -0.2]), np.array([1.2, 0.3])
    fit = solve(problems(x, noisy, np.tile([1.0, 0.0], (5, 1)), lower=lower, upper=upper))
    for theta, y in zip(fit.theta, noisy, strict=True):
        known = least_squares(lambda q, y=y: q[0] * np.exp(q[1] * x) - y, [1.0, 0.0], bounds=(lower, upper))
        assert np.allclose(theta, known.x, atol=1e-4)


def test_rows_of_weight_zero_do_not_matter():
    x, truth, clean, _ = curves()
    spoiled = clean.copy()
    spoiled[:, ::3] = 1e6
    weight = np.ones_like(clean)
    weight[:, ::3] = 0
    fit = solve(problems(x, spoiled, np.tile([1.0, 0.0], (5, 1)), row_weight=weight))
    assert np.allclose(fit.theta, truth, atol=1e-6)


def test_leverages_of_a_linear_model_are_the_diagonal_of_the_hat_matrix():
    rng = np.random.default_rng(1)
    design, y = rng.normal(size=(20, 3)), rng.normal(size=(1, 20))
    ridge = 0.7

    def model(theta, index):
        del index
        return theta @ design.T, np.broadcast_to(design, (len(theta), 20, 3))

    one = np.ones((1, 3))
    fit = solve(
        LeastSquares(
            model,
            y,
            np.ones((1, 20)),
            0 * one,
            -np.inf * one[0],
            np.inf * one[0],
            0 * one,
            ridge * one,
            np.array([np.inf]),
        )
    )
    inverse = np.linalg.inv(design.T @ design + ridge * np.eye(3))
    assert np.allclose(fit.theta[0], inverse @ design.T @ y[0])
    assert np.allclose(fit.leverage[0], np.einsum("ij,jk,ik->i", design, inverse, design))


def test_the_best_of_several_starts_is_kept():
    x, truth, clean, _ = curves(1)
    starts = np.array([[1.0, 9.0], [1.0, 0.0]])  # the first start is hopeless in a few steps
    fit = solve(problems(x, np.tile(clean, (2, 1)), starts), max_steps=40)
    assert np.allclose(keep_best(fit, 2).theta, truth, atol=1e-5)


def test_huber_is_quadratic_inside_and_linear_outside():
    loss, weight = huber(np.array([[0.5, 3.0]]), np.array([1.0]))
    assert np.allclose(loss, [[0.125, 2.5]])
    assert np.allclose(weight, [[1.0, 1 / 3]])
