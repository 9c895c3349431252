"""Non-linear least squares for many small problems at once: many targets, starts and penalties in one batch.

Each of the B problems minimises, over its own parameters theta (P,),

    sum_i w_i rho(y_i - f(theta)_i)  +  1/2 sum_m precision_m (theta_m - centre_m)^2,     lower <= theta <= upper

with rho the Huber loss (quadratic up to ``delta``, then linear; infinite delta is plain least squares), by
Levenberg-Marquardt steps on all problems together (Nocedal & Wright 2006, section 10.3), damped after Nielsen
(1999, IMM-REP-1999-05, Eq. 2.4). One batched call replaces hundreds of separate minimisations, which is where the speed
of the laws comes from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from mixers.jacobians import Dense, Jacobian

# Bytes of one batch of Jacobians: larger batches fall out of the cache and gain nothing.
_CHUNK_BYTES = 8 * 2**20
# Keeps the damped normal equations solvable when a parameter has no influence at all.
_TINY = 1e-12
# The same for the inverse of a matrix that was scaled to a diagonal of ones.
_RELATIVE_TINY = 1e-10
# How often a step is solved again with more parameters on their bounds.
_BOUND_ROUNDS = 6
# Damping: where it starts, the least of it, and where a problem counts as stuck; its factors after gain and failure.
_FIRST_DAMPING, _LEAST_DAMPING, _STUCK = 1e-3, 1e-9, 1e8
_EASIER, _HARDER = 0.1, 4.0
# Keeps the ratio of a gain to what was foretold defined where nothing was.
_LEAST_FALL = 1e-300

# (theta (B, P), problem index (B,)) -> values (B, n) and Jacobian: an array (B, n, P), or a form that multiplies itself
Model = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, "np.ndarray | Jacobian"]]


@dataclass(frozen=True)
class LeastSquares:
    """B problems over the same n rows. Rows that a problem must not see have weight 0.

    Args:
        start: first parameters. lower, upper: bounds, broadcast over the problems.
        centre, precision: the quadratic penalty (a Gaussian prior on the parameters).
        delta: where the Huber loss turns linear, one a problem.
        jacobian_size: numbers that the Jacobian of one problem holds; n m, written out, when left at 0.
    """

    model: Model
    y: Float[np.ndarray, "b n"]
    row_weight: Float[np.ndarray, "b n"]
    start: Float[np.ndarray, "b m"]
    lower: Float[np.ndarray, " m"]
    upper: Float[np.ndarray, " m"]
    centre: Float[np.ndarray, "b m"]
    precision: Float[np.ndarray, "b m"]
    delta: Float[np.ndarray, " b"]
    jacobian_size: int = 0

    def take(self, index: Int[np.ndarray, " c"]) -> LeastSquares:
        """The problems at ``index``; the model keeps seeing the original numbers of the problems."""
        model = self.model
        fields = ("y", "row_weight", "start", "centre", "precision", "delta")
        picked = {name: getattr(self, name)[index] for name in fields}
        return replace(self, model=lambda theta, which: model(theta, index[which]), **picked)


@dataclass(frozen=True)
class Fit:
    """Parameters (B, P), penalised objective (B,), and at the solution: values (B, n), Gauss-Newton matrix of the
    data (B, P, P), leverage of each row (B, n) and effective degrees of freedom (B,)."""

    theta: Float[np.ndarray, "b m"]
    objective: Float[np.ndarray, " b"]
    values: Float[np.ndarray, "b n"]
    curvature: Float[np.ndarray, "b m m"]
    leverage: Float[np.ndarray, "b n"]
    freedom: Float[np.ndarray, " b"]


def solve(problems: LeastSquares, max_steps: int = 60, tolerance: float = 1e-9) -> Fit:
    """Minimise every problem from its start. Deterministic.

    Args:
        tolerance: a problem ends with a step that gained, and promised to gain, less than this part of 1 + objective.
    """
    b, n = problems.y.shape
    m = problems.start.shape[1]
    size = max(1, _CHUNK_BYTES // (8 * ((problems.jacobian_size or n * m) + m * m)))
    parts = []
    for first in range(0, b, size):
        index = np.arange(first, min(first + size, b))
        parts.append(_solve_chunk(problems.take(index), max_steps, tolerance))
    return Fit(*(np.concatenate([getattr(part, name) for part in parts]) for name in Fit.__dataclass_fields__))


def keep_best(fit: Fit, starts: int) -> Fit:
    """Of B = starts * B' problems (starts outermost), the best start of each."""
    objective = np.where(np.isfinite(fit.objective), fit.objective, np.inf).reshape(starts, -1)
    best = np.argmin(objective, axis=0) * objective.shape[1] + np.arange(objective.shape[1])
    return Fit(*(getattr(fit, name)[best] for name in Fit.__dataclass_fields__))


def huber(residual: np.ndarray, delta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Huber loss of each residual and the weight psi(r) / r of its quadratic model."""
    size = np.abs(residual)
    edge = np.maximum(delta[:, None], _TINY)
    linear = size > edge
    capped = np.minimum(edge, 1e150)  # an infinite delta never reaches the linear branch
    loss = np.where(linear, capped * (size - capped / 2), residual**2 / 2)
    return loss, np.where(linear, capped / np.maximum(size, _TINY), 1.0)


@dataclass(frozen=True)
class _Point:
    """Where some problems stand: objective (b,), values (b, n), psi(r) / r of each row times its weight (b, n)."""

    objective: np.ndarray
    values: np.ndarray
    weight: np.ndarray
    jacobian: Jacobian


def _evaluate(problems: LeastSquares, theta: np.ndarray, index: np.ndarray) -> _Point:
    values, jacobian = problems.model(theta, index)
    loss, robust = huber(values - problems.y[index], problems.delta[index])
    pull = theta - problems.centre[index]
    row_weight = problems.row_weight[index]
    objective = (row_weight * loss).sum(axis=1) + (problems.precision[index] * pull**2).sum(axis=1) / 2
    known = Dense(jacobian) if isinstance(jacobian, np.ndarray) else jacobian
    return _Point(np.where(np.isfinite(objective), objective, np.inf), values, row_weight * robust, known)


def _slope_and_curvature(
    problems: LeastSquares, theta: np.ndarray, index: np.ndarray, point: _Point, of: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Gradient (b, P) and Gauss-Newton matrix (b, P, P), penalty included, of problems that are ``of`` the point."""
    jacobian, weight = point.jacobian.take(of), point.weight[of]
    precision = problems.precision[index]
    residual = weight * (point.values[of] - problems.y[index])
    slope = jacobian.pull(residual) + precision * (theta - problems.centre[index])
    return slope, _with_penalty(jacobian.gram(weight), precision)


def _damped_step(
    gradient: np.ndarray, hessian: np.ndarray, damping: np.ndarray, room: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Minimise g.d + d'(H + damping diag H)d / 2 inside the bounds of d; also the fall of the undamped model along d.

    Parameters at a bound that the gradient pushes against stay. One that the step would carry over a bound is put on
    it, and the rest is solved again: clipping alone leaves the others where they were best for a step not taken.
    """
    lower, upper = room
    system = hessian.copy()
    eye = np.arange(gradient.shape[1])
    system[:, eye, eye] = np.einsum("bmm->bm", hessian) * (1 + damping[:, None]) + _TINY
    held = ((lower >= 0) & (gradient > 0)) | ((upper <= 0) & (gradient < 0))
    step = np.zeros_like(gradient)
    crossing = np.arange(len(step))  # the problems whose step is not inside yet
    for _ in range(_BOUND_ROUNDS):
        solved = _solve_others(system[crossing], -gradient[crossing], held[crossing], step[crossing])
        step[crossing] = np.clip(solved, lower[crossing], upper[crossing])
        crossed = ~held[crossing] & (step[crossing] != solved)
        held[crossing] |= crossed
        crossing = crossing[crossed.any(axis=1)]
        if len(crossing) == 0:
            break
    bent = (hessian @ step[:, :, None])[:, :, 0]
    return step, -((gradient + bent / 2) * step).sum(axis=1)


def _solve_others(system: np.ndarray, right: np.ndarray, fixed: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Solutions of the linear systems in which the unknowns that are ``fixed`` have the given values."""
    if fixed.any():
        known = np.where(fixed, value, 0.0)
        right = np.where(fixed, value, right - (system @ known[:, :, None])[:, :, 0])
        system = np.where(fixed[:, :, None] | fixed[:, None, :], 0.0, system)
        eye = np.arange(system.shape[1])
        system[:, eye, eye] += fixed
    return np.linalg.solve(system, right[:, :, None])[:, :, 0]


def _with_penalty(curvature: np.ndarray, precision: np.ndarray) -> np.ndarray:
    hessian = curvature.copy()
    eye = np.arange(hessian.shape[1])
    hessian[:, eye, eye] += precision
    return hessian


def _solve_chunk(problems: LeastSquares, max_steps: int, tolerance: float) -> Fit:
    b = len(problems.y)
    theta = np.clip(problems.start, problems.lower, problems.upper)
    damping = np.full(b, _FIRST_DAMPING)
    everyone = np.arange(b)
    with np.errstate(over="ignore", invalid="ignore"):
        point = _evaluate(problems, theta, everyone)
        objective = point.objective
        gradient, hessian = _slope_and_curvature(problems, theta, everyone, point, everyone)
        active = everyone[np.isfinite(objective)]
        for _ in range(max_steps):
            if len(active) == 0:
                break
            room = (problems.lower - theta[active], problems.upper - theta[active])
            step, fall = _damped_step(gradient[active], hessian[active], damping[active], room)
            point = _evaluate(problems, theta[active] + step, active)
            gain = objective[active] - point.objective
            better = gain > 0
            damping[active] = _next_damping(damping[active], gain, fall)
            small = tolerance * (1 + np.abs(objective[active]))
            theta[active[better]] += step[better]
            objective[active[better]] = point.objective[better]
            done = (better & (gain <= small) & (fall <= small)) | (damping[active] > _STUCK)
            of = np.flatnonzero(better & ~done)
            moved = active[of]
            gradient[moved], hessian[moved] = _slope_and_curvature(problems, theta[moved], moved, point, of)
            active = active[~done]
    return _finish(problems, theta, objective)


def _next_damping(damping: np.ndarray, gain: np.ndarray, fall: np.ndarray) -> np.ndarray:
    """Less damping after a gain, the less the better the quadratic model foretold it; more after a failure."""
    ratio = np.minimum(gain / np.maximum(fall, _LEAST_FALL), 1.0)
    easier = np.maximum(damping * np.clip(1 - (2 * ratio - 1) ** 3, _EASIER, 1.0), _LEAST_DAMPING)
    return np.where(gain > 0, easier, damping * _HARDER)


def _finish(problems: LeastSquares, theta: np.ndarray, objective: np.ndarray) -> Fit:
    """Values, leverages and degrees of freedom at the solution: h_i = w_i J_i (H + precision)^-1 J_i'."""
    point = _evaluate(problems, theta, np.arange(len(theta)))
    curvature = np.nan_to_num(point.jacobian.gram(point.weight), posinf=1e150)
    inverse = _inverse(_with_penalty(curvature, problems.precision + _TINY))
    leverage = np.clip(point.weight * point.jacobian.squares(inverse), 0.0, 1.0)
    return Fit(theta, objective, point.values, curvature, leverage, leverage.sum(axis=1))


def _inverse(hessian: np.ndarray) -> np.ndarray:
    """Inverses of positive definite matrices whose diagonals may differ by many orders of size."""
    size = np.sqrt(np.einsum("bmm->bm", hessian))
    scaled = hessian / size[:, :, None] / size[:, None, :]
    eye = np.arange(hessian.shape[1])
    scaled[:, eye, eye] += _RELATIVE_TINY
    return np.linalg.inv(scaled) / size[:, :, None] / size[:, None, :]
