"""Two fits of a law whose domains each have a shape: first one shape for all of them, then each its own.

With few runs a shape a domain (an exponent, an amount of equivalent data) is a trap: it doubles the parameters for
something that the runs hardly show. So the shapes are tied first and the ridge strength is chosen there; then they are
freed, at that strength and held near the tied value, and each target keeps the fit with the smaller PRESS.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mixers.laws.parametric import Penalised, Problem, fit_penalised


def tied_then_own(tied: Problem, own: Callable[[Penalised], Problem]) -> Penalised:
    """``own`` makes the problem with freed shapes out of the tied fit: its parameters must begin with those of
    ``tied`` (and its penalties be complete: no strength multiplies them). Tied shapes come back as zeros at the end."""
    first = fit_penalised(tied)
    second = fit_penalised(own(first), strengths=(1.0,))
    padded = np.zeros_like(second.theta)
    padded[:, : first.theta.shape[1]] = first.theta
    keep = first.press <= second.press

    def pick(name: str) -> np.ndarray:
        return np.where(keep, getattr(first, name), getattr(second, name))

    theta = np.where(keep[:, None], padded, second.theta)
    return Penalised(theta, pick("residual_std"), first.strength, pick("objective"), pick("press"))
