"""Every form of a Jacobian multiplies itself as the same Jacobian written out does."""

import numpy as np
import pytest

import mixers.jacobians
from mixers.jacobians import Dense, Design, Jacobian, Scaled

B, N, U, Q = 3, 11, 2, 4


def forms() -> tuple[Dense, Scaled]:
    rng = np.random.default_rng(0)
    rows, own, factor = rng.normal(size=(N, Q)), rng.normal(size=(B, N, U)), rng.normal(size=(B, N))
    written_out = np.concatenate([own, factor[:, :, None] * rows], axis=2)
    return Dense(written_out), Scaled(own, factor, Design(rows))


def agree(one: Jacobian, other: Jacobian) -> bool:
    rng = np.random.default_rng(1)
    weight, residual = rng.uniform(size=(B, N)), rng.normal(size=(B, N))
    half = rng.normal(size=(B, U + Q, U + Q))
    symmetric = half + half.transpose(0, 2, 1)
    return (
        np.allclose(one.gram(weight), other.gram(weight))
        and np.allclose(one.pull(residual), other.pull(residual))
        and np.allclose(one.squares(symmetric), other.squares(symmetric))
    )


def test_a_written_out_jacobian_gives_the_textbook_products():
    dense, _ = forms()
    rng = np.random.default_rng(2)
    weight, residual, matrix = rng.uniform(size=(B, N)), rng.normal(size=(B, N)), np.tile(np.eye(U + Q), (B, 1, 1))
    for b, j in enumerate(dense.values):
        assert np.allclose(dense.gram(weight)[b], j.T @ np.diag(weight[b]) @ j)
        assert np.allclose(dense.pull(residual)[b], j.T @ residual[b])
        assert np.allclose(dense.squares(matrix)[b], (j**2).sum(axis=1))


def test_a_scaled_design_is_the_jacobian_that_it_stands_for():
    assert agree(*forms())


def test_designs_too_large_for_products_of_pairs_give_the_same(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mixers.jacobians, "_KEPT_BYTES", 0)
    dense, scaled = forms()
    assert scaled.design.products is None
    assert agree(dense, scaled)


def test_problems_are_picked_in_the_asked_order():
    dense, scaled = forms()
    order = np.array([2, 0])
    weight = np.random.default_rng(3).uniform(size=(2, N))
    assert np.allclose(scaled.take(order).gram(weight), dense.take(order).gram(weight))
    assert np.array_equal(dense.take(order).values, dense.values[order])
