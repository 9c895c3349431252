"""Learning rates over a run: a linear warm-up, then a named curve down to a fraction of the peak."""

from __future__ import annotations

import math
from collections.abc import Callable

from proxy_training.spec import OptimizerSpec

# The share of the way down that is done at ``progress`` (0 after the warm-up, 1 at the end of the run).
SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda _progress: 0.0,
    "cosine": lambda progress: (1 - math.cos(math.pi * progress)) / 2,  # Loshchilov & Hutter 2017, Eq. (5)
    "linear": lambda progress: progress,
}


def learning_rate(optimizer: OptimizerSpec, step: int, steps: int) -> float:
    """The rate of step ``step`` (counted from 0) of ``steps``.

    The first step is never at 0, and the last one reaches ``final_fraction`` of the peak.
    """
    warmup = math.ceil(optimizer.warmup_fraction * steps)
    if step < warmup:
        return optimizer.learning_rate * (step + 1) / warmup
    progress = (step + 1 - warmup) / max(steps - warmup, 1)
    fallen = SCHEDULES[optimizer.schedule](progress)
    return optimizer.learning_rate * (1 - (1 - optimizer.final_fraction) * fallen)
