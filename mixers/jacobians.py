"""Jacobians of many small problems at once, in forms that multiply themselves cheaply.

B problems over the same n rows have Jacobians J_b (n, P). A solver of least squares never needs J itself, only

    gram      J' diag(w) J       (B, P, P)
    pull      J' r               (B, P)
    squares   diag(J A J')       (B, n)

``Dense`` holds all of J. Where a law depends on the weights through an index X theta, the rows of J are rows of one
design X (n, q) that all problems share, times a factor, and the gram matrices of all problems are one matrix product:

    J_b = [ U_b | diag(g_b) X ],      sum_i s_bi x_i x_i' = S Z      with Z (n, q (q + 1) / 2) the products of pairs
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

# Bytes of products of pairs that are worth keeping: beyond it each problem's own matrix product is as fast.
_KEPT_BYTES = 64 * 2**20


class Jacobian(ABC):
    """What the solver asks of the derivatives of B problems."""

    @abstractmethod
    def take(self, index: Int[np.ndarray, " c"]) -> Jacobian:
        """Those of the problems at ``index``."""

    @abstractmethod
    def gram(self, weight: Float[np.ndarray, "b n"]) -> Float[np.ndarray, "b m m"]:
        """J' diag(weight) J of every problem."""

    @abstractmethod
    def pull(self, residual: Float[np.ndarray, "b n"]) -> Float[np.ndarray, "b m"]:
        """J' residual of every problem."""

    @abstractmethod
    def squares(self, matrix: Float[np.ndarray, "b m m"]) -> Float[np.ndarray, "b n"]:
        """J_i matrix J_i' of every problem and row; the matrices are symmetric."""


@dataclass(frozen=True)
class Dense(Jacobian):
    """Any Jacobian, written out."""

    values: Float[np.ndarray, "b n m"]

    def take(self, index: Int[np.ndarray, " c"]) -> Dense:
        return Dense(self.values[index])

    def gram(self, weight: Float[np.ndarray, "b n"]) -> Float[np.ndarray, "b m m"]:
        return (self.values * weight[:, :, None]).transpose(0, 2, 1) @ self.values

    def pull(self, residual: Float[np.ndarray, "b n"]) -> Float[np.ndarray, "b m"]:
        return (residual[:, None, :] @ self.values)[:, 0]

    def squares(self, matrix: Float[np.ndarray, "b m m"]) -> Float[np.ndarray, "b n"]:
        return ((self.values @ matrix) * self.values).sum(axis=2)


@dataclass(frozen=True)
class Design:
    """Rows x_i (n, q) that many problems share, with the products of their pairs where those are small enough."""

    rows: Float[np.ndarray, "n q"]
    pairs: tuple[np.ndarray, np.ndarray] = field(init=False)  # the q (q + 1) / 2 places on and above the diagonal
    products: Float[np.ndarray, "n z"] | None = field(init=False)

    def __post_init__(self) -> None:
        n, q = self.rows.shape
        object.__setattr__(self, "pairs", np.triu_indices(q))
        small = 8 * n * q * (q + 1) // 2 <= _KEPT_BYTES
        products = self.rows[:, self.pairs[0]] * self.rows[:, self.pairs[1]] if small else None
        object.__setattr__(self, "products", products)

    def gram(self, weight: Float[np.ndarray, "b n"]) -> Float[np.ndarray, "b q q"]:
        """X' diag(weight) X of every problem; weights of 0 or more."""
        q = self.rows.shape[1]
        full = np.empty((len(weight), q, q))
        if self.products is None:
            for one, root in zip(full, np.sqrt(weight), strict=True):
                scaled = self.rows * root[:, None]
                np.matmul(scaled.T, scaled, out=one)  # one array twice: NumPy computes half of the matrix
            return full
        packed = weight @ self.products
        full[:, self.pairs[0], self.pairs[1]] = packed
        full[:, self.pairs[1], self.pairs[0]] = packed
        return full

    def squares(self, matrix: Float[np.ndarray, "b q q"]) -> Float[np.ndarray, "b n"]:
        """x_i' matrix x_i of every problem and row; the matrices are symmetric."""
        return np.stack([((self.rows @ one) * self.rows).sum(axis=1) for one in matrix])


@dataclass(frozen=True)
class Scaled(Jacobian):
    """J_b = [ U_b | diag(g_b) X ]: a few columns of each problem's own, and an index of the shared design."""

    own: Float[np.ndarray, "b n u"]
    factor: Float[np.ndarray, "b n"]
    design: Design

    def take(self, index: Int[np.ndarray, " c"]) -> Scaled:
        return Scaled(self.own[index], self.factor[index], self.design)

    def gram(self, weight: Float[np.ndarray, "b n"]) -> Float[np.ndarray, "b m m"]:
        (b, _, u), q = self.own.shape, self.design.rows.shape[1]
        out = np.empty((b, u + q, u + q))
        weighted = self.own.transpose(0, 2, 1) * weight[:, None, :]
        out[:, :u, :u] = weighted @ self.own
        across = (weighted * self.factor[:, None, :]) @ self.design.rows
        out[:, :u, u:], out[:, u:, :u] = across, across.transpose(0, 2, 1)
        out[:, u:, u:] = self.design.gram(weight * self.factor**2)
        return out

    def pull(self, residual: Float[np.ndarray, "b n"]) -> Float[np.ndarray, "b m"]:
        own = (residual[:, None, :] @ self.own)[:, 0]
        return np.concatenate([own, (residual * self.factor) @ self.design.rows], axis=1)

    def squares(self, matrix: Float[np.ndarray, "b m m"]) -> Float[np.ndarray, "b n"]:
        u = self.own.shape[2]
        own = ((self.own @ matrix[:, :u, :u]) * self.own).sum(axis=2)
        across = (self.own.transpose(0, 2, 1) * (matrix[:, :u, u:] @ self.design.rows.T)).sum(axis=1)
        return own + 2 * self.factor * across + self.factor**2 * self.design.squares(matrix[:, u:, u:])
