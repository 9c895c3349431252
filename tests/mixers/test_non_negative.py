"""Non-negative least squares, also where the active set is lost."""

import numpy as np
import pytest

from mixers import non_negative as module
from mixers.non_negative import descend, non_negative


def is_optimal(design: np.ndarray, y: np.ndarray, x: np.ndarray, tolerance: float) -> bool:
    """The conditions of the optimum: no slope where x > 0, none downwards where x = 0."""
    slope = design.T @ (design @ x - y) / np.sqrt((design**2).sum(axis=0))
    return bool((x >= 0).all() and (slope > -tolerance).all() and (np.abs(slope[x > 0]) < tolerance).all())


def problem() -> tuple[np.ndarray, np.ndarray]:
    """Columns whose sizes differ by twelve orders, two of them nearly equal."""
    rng = np.random.default_rng(0)
    design = rng.uniform(size=(40, 12))
    design[:, 7] = design[:, 3] + 1e-7 * design[:, 7]
    return design * 10.0 ** np.linspace(-6, 6, 12), design @ np.maximum(rng.normal(size=12), 0) + rng.normal(size=40)


def test_the_answer_meets_the_conditions_of_the_optimum():
    design, y = problem()
    x = non_negative(design, y)
    assert is_optimal(design, y, x, 1e-9)
    assert 0 < (x > 0).sum() < 12


def test_a_lost_active_set_is_replaced_by_a_descent_to_the_same_optimum(monkeypatch):
    design, y = problem()
    known = non_negative(design, y)

    def lost(*args: object, **options: object) -> None:
        raise RuntimeError("Maximum number of iterations reached.")

    monkeypatch.setattr(module, "nnls", lost)
    x = non_negative(design, y)
    assert is_optimal(design, y, x, 1e-4)
    assert np.linalg.norm(design @ x - y) == pytest.approx(np.linalg.norm(design @ known - y), rel=1e-8)


def test_a_column_of_zeros_gets_nothing():
    assert non_negative(np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([1.0, 3.0])).tolist() == pytest.approx([2.0, 0.0])
    assert descend(np.zeros((2, 2)), np.zeros(2)).tolist() == [0.0, 0.0]
