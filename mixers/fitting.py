"""Non-linear least squares for many small problems at once: many targets, starts and penalties in one batch.

Each of the B problems minimises, over its own parameters theta (P,),

    sum_i w_i rho(y_i - f(theta)_i)  +  1/2 sum_m precision_m (theta_m - centre_m)^2,     lower <= theta <= upper

with rho the Huber loss (quadratic up to ``delta``, then linear; infinite delta is plain least squares), by
Levenberg-Marquardt steps on all problems together (Nocedal & Wright 2006, section 10.3; the bounds by projection, with
the parameters that push against a bound held fixed for the step). One batched call replaces hundreds of separate
minimisations, which is where the speed of the laws comes from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

# Bytes of one batch of Jacobians: larger batches fall out of the cache and gain nothing.
_CHUNK_BYTES = 64 * 2**20
# Keeps the damped normal equations solvable when a parameter has no influence at all.
_TINY = 1e-12
# How often a step is solved again with more parameters on their bounds.
_BOUND_ROUNDS = 6

# (theta (B, P), problem index (B,)) -> values (B, n) and Jacobian (B, n, P)
Model = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class LeastSquares:
    """B problems over the same n rows. Rows that a problem must not see have weight 0.

    Args:
        start: first parameters. lower, upper: bounds, broadcast over the problems.
        centre, precision: the quadratic penalty (a Gaussian prior on the parameters).
        delta: where the Huber loss turns linear, one a problem.
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
    """Minimise every problem from its start. Deterministic."""
    b, n = problems.y.shape
    m = problems.start.shape[1]
    size = max(1, int(_CHUNK_BYTES / (8 * n * m)))
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


def _evaluate(
    problems: LeastSquares, theta: np.ndarray, index: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Objective, gradient, Gauss-Newton matrix of the data, values and weights at ``theta``."""
    with np.errstate(over="ignore", invalid="ignore"):
        values, jacobian = problems.model(theta, index)
        residual = values - problems.y[index]
        loss, robust = huber(residual, problems.delta[index])
        weight = problems.row_weight[index] * robust
        pull = theta - problems.centre[index]
        precision = problems.precision[index]
        objective = (problems.row_weight[index] * loss).sum(axis=1) + (precision * pull**2).sum(axis=1) / 2
        weighted = jacobian * weight[:, :, None]
        curvature = weighted.transpose(0, 2, 1) @ jacobian
        gradient = (weighted * residual[:, :, None]).sum(axis=1) + precision * pull
    return np.where(np.isfinite(objective), objective, np.inf), gradient, curvature, values, weight


def _damped_step(
    theta: np.ndarray,
    gradient: np.ndarray,
    hessian: np.ndarray,
    damping: np.ndarray,
    bounds: tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    """Minimise g.d + d'(H + damping diag H)d / 2 over the parameters that are free to move, inside the bounds.

    A parameter that the unbounded step would carry over a bound is put on it, and the rest is solved again: clipping
    alone leaves the others where they were best for a step that is not taken, and many bounds then cost many steps.
    """
    lower, upper = bounds
    held = ((theta <= lower) & (gradient > 0)) | ((theta >= upper) & (gradient < 0))
    diagonal = np.einsum("bmm->bm", hessian)
    full = hessian.copy()
    eye = np.arange(theta.shape[1])
    full[:, eye, eye] = diagonal * (1 + damping[:, None]) + _TINY
    step = np.zeros_like(theta)
    open_ = np.arange(len(theta))  # the problems whose step still crosses a bound
    for _ in range(_BOUND_ROUNDS):
        put, fixed = step[open_], held[open_]
        push = gradient[open_] + (full[open_] @ np.where(fixed, put, 0.0)[:, :, None])[:, :, 0]
        system = np.where(fixed[:, :, None] | fixed[:, None, :], 0.0, full[open_])
        system[:, eye, eye] = np.where(fixed, 1.0, full[open_][:, eye, eye])
        solved = np.linalg.solve(system, np.where(fixed, put, -push)[:, :, None])[:, :, 0]
        inside = np.clip(theta[open_] + solved, lower, upper) - theta[open_]
        crossed = ~fixed & (inside != (theta[open_] + solved) - theta[open_])
        step[open_], held[open_] = inside, fixed | crossed
        open_ = open_[crossed.any(axis=1)]
        if len(open_) == 0:
            break
    return np.clip(theta + step, lower, upper)


def _with_penalty(curvature: np.ndarray, precision: np.ndarray) -> np.ndarray:
    hessian = curvature.copy()
    eye = np.arange(hessian.shape[1])
    hessian[:, eye, eye] += precision
    return hessian


def _solve_chunk(problems: LeastSquares, max_steps: int, tolerance: float) -> Fit:
    b = len(problems.y)
    theta = np.clip(problems.start, problems.lower, problems.upper)
    damping = np.full(b, 1e-3)
    everyone = np.arange(b)
    objective, gradient, curvature, *_ = _evaluate(problems, theta, everyone)
    active = everyone[np.isfinite(objective)]
    for _ in range(max_steps):
        if len(active) == 0:
            break
        hessian = _with_penalty(curvature[active], problems.precision[active])
        bounds = (problems.lower, problems.upper)
        candidate = _damped_step(theta[active], gradient[active], hessian, damping[active], bounds)
        value, slope, bend, *_ = _evaluate(problems, candidate, active)
        better = value < objective[active]
        damping[active] = np.where(better, damping[active] / 5, damping[active] * 4)
        gain = np.where(better, objective[active] - value, np.inf)
        moved = active[better]
        theta[moved], objective[moved] = candidate[better], value[better]
        gradient[moved], curvature[moved] = slope[better], bend[better]
        damping = np.maximum(damping, 1e-9)
        done = (better & (gain <= tolerance * (1 + np.abs(objective[active])))) | (damping[active] > 1e8)
        active = active[~done]
    return _finish(problems, theta, objective)


def _finish(problems: LeastSquares, theta: np.ndarray, objective: np.ndarray) -> Fit:
    """Values, leverages and degrees of freedom at the solution: h_i = w_i J_i (H + precision)^-1 J_i'."""
    index = np.arange(len(theta))
    _, _, curvature, values, weight = _evaluate(problems, theta, index)
    curvature = np.nan_to_num(curvature, posinf=1e150)
    inverse = np.linalg.pinv(_with_penalty(curvature, problems.precision + _TINY), hermitian=True)
    _, jacobian = problems.model(theta, index)
    leverage = np.clip(weight * ((jacobian @ inverse) * jacobian).sum(axis=2), 0.0, 1.0)
    return Fit(theta, objective, values, curvature, leverage, leverage.sum(axis=1))
