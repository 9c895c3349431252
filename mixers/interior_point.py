"""A primal-dual interior-point method (Boyd & Vandenberghe 2004, section 11.7; Mehrotra 1992) for convex programs.

    min f(x)   with   c(x) + s = 0,  s >= 0  (multipliers z),   equal x = to  (y),   lower <= x <= upper  (z_l, z_u)

c holds the nonlinear g(x) and the rows. Each iteration solves the Newton system of the perturbed optimality conditions
s z = mu twice with one factorisation: for mu = 0 to see how far it could go, and then with the mu and the second-order
correction that this suggests. Everything but bounds may start outside of its limit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.linalg import lu_factor, lu_solve

from mixers.programs import At, Program

_ITERATIONS = 150
# Iterations without progress that end it; a quarter of them where the residual is this small, and rounding sets in.
_IDLE, _CLOSE = 40, 1e-8
# Share of the way to a boundary that a step may go.
_FRACTION = 0.995
# Keeps the Newton system solvable where rows repeat each other.
_RIDGE = 1e-13
_HALVINGS = 4
_CLOSEST = 1e-18
_NEAR = 1e-3
# Of what the conditions still miss: s z falls no faster, or the next steps would all end at a boundary.
_BALANCE = 1e-3


@dataclass(frozen=True)
class Iterate:
    """x (n,), slacks s (m + r,) with multipliers z, of the equalities y (q,), of the bounds below and above (n,)."""

    x: Float[np.ndarray, " n"]
    s: Float[np.ndarray, " c"]
    z: Float[np.ndarray, " c"]
    y: Float[np.ndarray, " q"]
    below: Float[np.ndarray, " n"]
    above: Float[np.ndarray, " n"]

    def moved(self, step: Iterate, length: float) -> Iterate:
        """This plus ``length`` times ``step``."""
        return Iterate(
            self.x + length * step.x,
            self.s + length * step.s,
            self.z + length * step.z,
            self.y + length * step.y,
            self.below + length * step.below,
            self.above + length * step.above,
        )


@dataclass(frozen=True)
class _Residual:
    """What is missing from the optimality conditions: dual (n,), inequalities (c,), equalities (q,), and mean s z.

    Next to a bound a dual residual costs little, and of the logarithm in KL it is large: ``nearness`` (n,) scales it.
    """

    dual: np.ndarray
    nearness: np.ndarray
    inequality: np.ndarray
    equality: np.ndarray
    mu: float

    @property
    def size(self) -> float:
        parts = [np.abs(part).max(initial=0.0) for part in (self.dual * self.nearness, self.inequality, self.equality)]
        return float(max(*parts, self.mu))


def interior_point(program: Program, start: Float[np.ndarray, " n"], tolerance: float = 1e-10) -> Iterate:
    """The last iterate; its residual is at most ``tolerance`` unless rounding or the iterations end it earlier."""
    at = program.at(start)
    now = _first(program, start, at)
    best, best_size, idle = now, np.inf, 0
    for _ in range(_ITERATIONS):
        residual = _residual(program, now, at)
        if residual.size < 0.9 * best_size:
            best, best_size, idle = now, residual.size, 0
        else:
            idle += 1
        if residual.size <= tolerance or idle > (_IDLE if best_size > _CLOSE else _IDLE // 4):
            break
        found = _step(program, now, at, residual)
        if found is None:
            break
        now, at = found
    return best


def _first(program: Program, x: np.ndarray, at: At) -> Iterate:
    c = _constraints(program, x, at)
    scale = max(float(np.abs(at.gradient - np.median(at.gradient)).mean()), 1e-4)
    mu = 0.1 * scale / program.n
    s = np.maximum(-c, 1e-2)
    below = np.where(np.isfinite(program.lower), mu / np.maximum(x - program.lower, 1e-12), 0.0)
    above = np.where(np.isfinite(program.upper), mu / np.maximum(program.upper - x, 1e-12), 0.0)
    z = mu / s
    if program.worst_rows:  # the multipliers of the worst excess sum to 1
        z[: program.worst_rows] = 1 / program.worst_rows
    return Iterate(x, s, z, np.zeros(len(program.to)), below, above)


def _constraints(program: Program, x: np.ndarray, at: At) -> np.ndarray:
    return np.concatenate([at.limits, program.rows @ x - program.most])


def _room(program: Program, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances to the bounds, infinite where there is none; never 0, which rounding would make of a last step."""
    return np.maximum(x - program.lower, _CLOSEST), np.maximum(program.upper - x, _CLOSEST)


def _residual(program: Program, now: Iterate, at: At) -> _Residual:
    jacobian = np.vstack([at.jacobian, program.rows])
    dual = at.gradient + jacobian.T @ now.z + program.equal.T @ now.y - now.below + now.above
    under, over = _room(program, now.x)
    lower, upper = np.isfinite(under), np.isfinite(over)
    pairs = np.concatenate(
        [
            now.s * now.z,
            under[lower] * now.below[lower],
            over[upper] * now.above[upper],
        ]
    )
    mu = float(pairs.mean()) if len(pairs) else 0.0
    nearness = np.minimum(1.0, np.minimum(under, over) / _NEAR)
    return _Residual(dual, nearness, _constraints(program, now.x, at) + now.s, program.equal @ now.x - program.to, mu)


def _step(program: Program, now: Iterate, at: At, residual: _Residual) -> tuple[Iterate, At] | None:
    """The corrected Newton step, shortened until the residual does not grow; None when it cannot be computed."""
    system = _System.of(program, now, at, residual)
    if system is None:
        return None
    affine = system.direction(0.0, None)
    ahead = now.moved(affine, _longest(program, now, affine))
    reached = _residual(program, ahead, at).mu
    mu = max((reached / residual.mu) ** 3, 1e-4) * residual.mu if residual.mu > 0 else 0.0
    mu = max(mu, min(residual.mu, _BALANCE * float(np.abs(residual.inequality).max(initial=0.0))))
    tried: list[tuple[float, Iterate, At]] = []
    for guess in (affine, None):  # the second-order correction may be wrong far from the solution
        step = system.direction(mu, guess)
        length = _FRACTION * _longest(program, now, step)
        for _ in range(_HALVINGS):
            new = now.moved(step, length)
            there = program.at(new.x)
            size = _residual(program, new, there).size
            if size <= max(residual.size * (1 - 1e-3 * length), 10 * mu):
                return new, there
            tried.append((size, new, there))
            length /= 2
    # Creeping along would get stuck where the constraints bend: a step that makes the residual a little worse leaves.
    _, new, there = min(tried, key=lambda trial: trial[0])
    return new, there


@dataclass(frozen=True)
class _System:
    """The factorised Newton system at one iterate."""

    now: Iterate
    residual: _Residual
    jacobian: np.ndarray
    factors: tuple[np.ndarray, np.ndarray]
    under: np.ndarray
    over: np.ndarray

    @classmethod
    def of(cls, program: Program, now: Iterate, at: At, residual: _Residual) -> _System | None:
        """None where rounding has left something that is not finite."""
        jacobian = np.vstack([at.jacobian, program.rows])
        under, over = _room(program, now.x)
        n, q = program.n, len(program.to)
        matrix = np.zeros((n + q, n + q))
        h = program.hessian(now.x, now.z[: program.count])
        matrix[:n, :n] = h + (jacobian.T * (now.z / now.s)) @ jacobian + np.diag(now.below / under + now.above / over)
        matrix[:n, :n] += np.eye(n) * _RIDGE * max(1.0, float(np.abs(np.diag(matrix)[:n]).max()))
        matrix[:n, n:], matrix[n:, :n] = program.equal.T, program.equal
        matrix[n:, n:] = -np.eye(q) * _RIDGE
        if not np.isfinite(matrix).all():
            return None
        return cls(now, residual, jacobian, lu_factor(matrix, check_finite=False), under, over)

    def direction(self, mu: float, guess: Iterate | None) -> Iterate:
        """The step towards s z = mu, less the products of the guessed step that a linear model leaves out."""
        now, residual = self.now, self.residual
        ds_dz = 0.0 if guess is None else guess.s * guess.z
        dx_below = 0.0 if guess is None else guess.x * guess.below
        dx_above = 0.0 if guess is None else -guess.x * guess.above
        aim_z = (mu - ds_dz) / now.s - now.z
        aim_below = np.where(np.isfinite(self.under), (mu - dx_below) / self.under, 0.0) - now.below
        aim_above = np.where(np.isfinite(self.over), (mu - dx_above) / self.over, 0.0) - now.above
        pushed = aim_z + now.z / now.s * residual.inequality
        right = np.append(-residual.dual - self.jacobian.T @ pushed + aim_below - aim_above, -residual.equality)
        solved = lu_solve(self.factors, right, check_finite=False)
        dx, dy = solved[: len(now.x)], solved[len(now.x) :]
        ds = -residual.inequality - self.jacobian @ dx
        dz = aim_z - now.z / now.s * ds
        below, above = aim_below - now.below / self.under * dx, aim_above + now.above / self.over * dx
        return Iterate(dx, ds, dz, dy, below, above)


def _longest(program: Program, now: Iterate, step: Iterate) -> float:
    """The largest length of at most 1 that keeps everything positive that must be."""
    under, over = _room(program, now.x)
    pairs = [
        (now.s, step.s),
        (now.z, step.z),
        (now.below, step.below),
        (now.above, step.above),
        (under, step.x),
        (over, -step.x),
    ]
    length = 1.0
    for value, change in pairs:
        falling = (change < 0) & (value > 0) & np.isfinite(value)
        if falling.any():
            length = min(length, float((-value[falling] / change[falling]).min()))
    return length
