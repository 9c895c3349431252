"""An objective over a feasible set as a smooth program, for the solvers that know nothing of mixtures.

    min f(x)   with   g(x) <= 0,  rows x <= most,  equal x = to,  lower <= x <= upper,      x = (p, u, w)

u lifts the total change (see polytope.py); w lifts the worst excess: f = w + ..., (M y(p) - o)_r - w <= 0. Weights that
have one value only are left out of x. Second derivatives of the law are differences of its gradients: k of them for the
sum that is needed, not for every target.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mixers.objectives import Objective
from mixers.polytope import Polytope, polytope
from mixers.simplex import FeasibleSet

# Step of the differences of gradients, in weight.
_STEP = 1e-6
# Relative room that limits get: at a mixture that cannot be improved without missing one they leave no interior.
_LIMIT_ROOM = 1e-9


@dataclass(frozen=True)
class At:
    """f, its gradient (n,), g (m,) and its Jacobian (m, n) at one x."""

    value: float
    gradient: Float[np.ndarray, " n"]
    limits: Float[np.ndarray, " m"]
    jacobian: Float[np.ndarray, "m n"]


class Program:
    """See the module. Attributes: lower, upper, rows, most, equal, to, as in a polytope, over x."""

    def __init__(
        self, objective: Objective, feasible: FeasibleSet, tilt: Float[np.ndarray, " k"] | None = None
    ) -> None:
        """``tilt`` adds tilt . p to F."""
        self.objective = objective
        self._tilt = np.zeros(len(objective.prior)) if tilt is None else tilt
        self.k = len(objective.prior)
        whole = polytope(feasible)
        self._base, self._free = whole.interior, np.flatnonzero(~whole.fixed)
        self.free = self._free[self._free < self.k]
        lifted = objective.worst is not None
        self.n = len(self._free) + lifted
        self._lifted = lifted
        self._restrict(whole)
        limits = objective.limits
        self.worst_rows = len(objective.worst.offset) if objective.worst is not None else 0
        self.limit_rows = 0 if limits is None else len(limits.at_most)
        self.count = self.worst_rows + self.limit_rows

    def _restrict(self, whole: Polytope) -> None:
        """The polytope over the free variables, with a column for w."""
        free, base, more = self._free, np.where(whole.fixed, whole.interior, 0.0), int(self._lifted)
        self.lower = np.append(whole.lower[free], [-np.inf] * more)
        self.upper = np.append(whole.upper[free], [np.inf] * more)
        self.rows = np.hstack([whole.rows[:, free], np.zeros((len(whole.most), more))])
        self.most = whole.most - whole.rows @ base
        self.equal = np.hstack([whole.equal[:, free], np.zeros((len(whole.to), more))])
        self.to = whole.to - whole.equal @ base

    def start(self, p: Float[np.ndarray, " k"] | None = None) -> Float[np.ndarray, " n"]:
        """A strictly interior x, or one at weights ``p``."""
        full = self._base.copy()
        if p is not None:
            if len(full) > self.k:
                full[self.k :] = np.abs(p - self._base[: self.k]) + self._base[self.k :]
            full[: self.k] = p
        x = full[self._free]
        if not self._lifted:
            return x
        worst = self.objective.worst
        assert worst is not None
        y = self.objective.law.predict(full[: self.k], self.objective.scale).mean
        excess = worst.matrix @ y - worst.offset
        return np.append(x, float(excess.max()) + 0.1 * max(float(np.ptp(excess)), 1e-3))

    def weights(self, x: Float[np.ndarray, " n"]) -> Float[np.ndarray, " k"]:
        """p at x."""
        p = self._base[: self.k].copy()
        p[self.free] = x[: len(self.free)]
        return p

    def at(self, x: Float[np.ndarray, " n"]) -> At:
        """Everything of first order."""
        objective, p = self.objective, self.weights(x)
        y, by_p = objective.law.value_and_gradient(p, objective.scale)
        own, w = self._own_weights(), (x[-1] if self._lifted else 0.0)
        value = float(own @ y + w + objective.extra(p) + self._tilt @ p)
        gradient = self._spread(by_p.T @ own + objective.extra_gradient(p) + self._tilt, 1.0)
        limits, jacobian = [np.zeros(0)], [np.zeros((0, self.n))]
        if objective.worst is not None:
            limits.append(objective.worst.matrix @ y - objective.worst.offset - w)
            jacobian.append(self._spread(objective.worst.matrix @ by_p, -1.0))
        if objective.limits is not None:
            limits.append(objective.limits.matrix @ y - self._loosened())
            jacobian.append(self._spread(objective.limits.matrix @ by_p, 0.0))
        return At(value, gradient, np.concatenate(limits), np.vstack(jacobian))

    def hessian(self, x: Float[np.ndarray, " n"], multipliers: Float[np.ndarray, " m"]) -> Float[np.ndarray, "n n"]:
        """Second derivatives of f + multipliers . g."""
        objective, p = self.objective, self.weights(x)
        law = self.law_hessian(p, self._own_weights() + self.target_multipliers(multipliers))
        own = objective.kl / np.maximum(p, 1e-300)
        if objective.repetition is not None:
            own = own + objective.repetition.curvature(p)
        h = np.zeros((self.n, self.n))
        f = len(self.free)
        h[:f, :f] = law + np.diag(own[self.free])
        return h

    def law_hessian(self, p: np.ndarray, of_targets: np.ndarray) -> np.ndarray:
        """d2 / dp2 of of_targets . y over the free weights, by forward differences of the gradient."""
        law, scale = self.objective.law, self.objective.scale
        here = law.value_and_gradient(p, scale)[1].T @ of_targets
        columns = []
        for j in self.free:
            there = p.copy()
            there[j] += _STEP
            columns.append((law.value_and_gradient(there, scale)[1].T @ of_targets - here)[self.free] / _STEP)
        h = np.array(columns)
        return (h + h.T) / 2

    def target_multipliers(self, multipliers: Float[np.ndarray, " m"]) -> Float[np.ndarray, " t"]:
        """What multipliers of worst rows and limits mean for each target."""
        objective = self.objective
        total = np.zeros(len(objective.weights))
        if objective.worst is not None:
            total = total + multipliers[: self.worst_rows] @ objective.worst.matrix
        if objective.limits is not None:
            total = total + multipliers[self.worst_rows : self.worst_rows + self.limit_rows] @ objective.limits.matrix
        return total

    def limit_multipliers(self, multipliers: Float[np.ndarray, " m"]) -> Float[np.ndarray, " e"]:
        """Those of the objective's limits."""
        return multipliers[self.worst_rows : self.worst_rows + self.limit_rows]

    def _own_weights(self) -> np.ndarray:
        worst = self.objective.worst
        return self.objective.weights * (1.0 if worst is None else worst.tie_break)

    def _loosened(self) -> np.ndarray:
        assert self.objective.limits is not None
        at_most = self.objective.limits.at_most
        return at_most + _LIMIT_ROOM * np.maximum(1.0, np.abs(at_most))

    def _spread(self, by_p: np.ndarray, by_w: float) -> np.ndarray:
        """Derivatives by p as derivatives by x."""
        out = np.zeros((*by_p.shape[:-1], self.n))
        out[..., : len(self.free)] = by_p[..., self.free]
        if self._lifted:
            out[..., -1] = by_w
        return out
