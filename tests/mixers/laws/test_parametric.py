"""The choice of the ridge: PRESS against runs that were really left out, and the chosen strength against all others."""

import numpy as np
import pytest

from mixers.laws.parametric import STRENGTHS, Problem, fit_penalised
from tests.mixers import planted


def linear_problem(p: np.ndarray, y: np.ndarray, starts: int = 1) -> Problem:
    """y = p . b with a ridge on b."""
    (n, k), t = p.shape, len(y)

    def model(theta: np.ndarray, index: np.ndarray):
        return theta @ p.T, np.broadcast_to(p, (len(index), n, k))

    bound = np.full(k, np.inf)
    nothing = np.zeros((t, k))
    start = np.tile(nothing, (starts, 1, 1))
    return Problem(model, y, np.ones((t, n)), start, -bound, bound, nothing, np.ones((t, k)))


def ridge(p: np.ndarray, y: np.ndarray, strength: float) -> np.ndarray:
    return np.linalg.solve(p.T @ p + strength * np.eye(p.shape[1]), p.T @ y)


def left_out_score(p: np.ndarray, y: np.ndarray, strength: float) -> float:
    """Mean r^2 / 2 (all residuals stay below the Huber threshold) of each run by a fit without it."""
    keep = ~np.eye(len(p), dtype=bool)
    residual = [y[i] - p[i] @ ridge(p[rows], y[rows], strength) for i, rows in enumerate(keep)]
    assert np.abs(residual).max() < 0.5
    return float(np.mean(np.square(residual)) / 2)


@pytest.mark.parametrize("strength", [1e-3, 1e-1, 10.0])
def test_press_is_the_error_of_runs_left_out(strength: float):
    rng = np.random.default_rng(0)
    p = planted.mixtures(30, 5, rng)
    y = 0.3 * rng.normal(size=5) @ p.T + 0.02 * rng.normal(size=30)
    fitted = fit_penalised(linear_problem(p, y[None]), strengths=(strength,))
    assert fitted.press[0] == pytest.approx(left_out_score(p, y, strength), rel=1e-3)


def test_press_sees_the_error_of_runs_that_alone_hold_a_domain():
    rng = np.random.default_rng(1)
    p = np.concatenate([planted.mixtures(30, 3, rng), np.zeros((30, 2))], axis=1)
    p[:2] = [[0, 0, 0, 1, 0], [0, 0, 0, 0, 1]]  # fitted exactly by a weak ridge, and unknown without themselves
    y = p @ [0.1, 0.2, 0.1, 0.3, 0.3] + 0.01 * rng.normal(size=30)
    fitted = fit_penalised(linear_problem(p, y[None]), strengths=(1e-3,))
    assert fitted.press[0] == pytest.approx(left_out_score(p, y, 1e-3), rel=1e-2)


def test_the_strength_is_that_of_the_least_press_and_its_fit_is_followed_to_the_end():
    rng = np.random.default_rng(2)
    p = planted.mixtures(12, 8, rng)
    for signal in (0.0, 3.0):
        y = signal * rng.normal(size=8) @ p.T + 0.1 * rng.normal(size=12)
        press = [fit_penalised(linear_problem(p, y[None]), strengths=(s,)).press[0] for s in STRENGTHS]
        fitted = fit_penalised(linear_problem(p, y[None], starts=2))
        assert fitted.strength[0] == STRENGTHS[int(np.argmin(press))]
        assert np.allclose(fitted.theta[0], ridge(p, y, fitted.strength[0]), atol=1e-6)
