"""Learning rates over a run: a linear warm-up, then a named curve down to a fraction of the peak."""

from __future__ import annotations

import math
from collections.abc import Callable

from proxy_training.spec import OptimizerSpec

# The share of the way down that is done at ``progress`` (0 after the warm-up, 1 at the end of the run).
Curve = Callable[[float, OptimizerSpec], float]


def _stable_then_down(progress: float, optimizer: OptimizerSpec) -> float:
    """Hu et al. 2024, MiniCPM, section 4.2, with a straight line down, as Hägele et al. 2024 find no worse."""
    falling = optimizer.decay_fraction / (1 - optimizer.warmup_fraction)  # of what follows the warm-up
    return max(0.0, 1 - (1 - progress) / falling)


SCHEDULES: dict[str, Curve] = {
    "constant": lambda _progress, _optimizer: 0.0,
    # Loshchilov & Hutter 2017, Eq. (5)
    "cosine": lambda progress, _optimizer: (1 - math.cos(math.pi * progress)) / 2,
    "linear": lambda progress, _optimizer: progress,
    "wsd": _stable_then_down,
}


def learning_rate(optimizer: OptimizerSpec, step: int, steps: int) -> float:
    """The rate of step ``step`` (counted from 0) of ``steps``.

    The first step is never at 0, and the last one reaches ``final_fraction`` of the peak.
    """
    warmup = math.ceil(optimizer.warmup_fraction * steps)
    if step < warmup:
        return optimizer.learning_rate * (step + 1) / warmup
    progress = (step + 1 - warmup) / max(steps - warmup, 1)
    fallen = SCHEDULES[optimizer.schedule](progress, optimizer)
    return optimizer.learning_rate * (1 - (1 - optimizer.final_fraction) * fallen)
