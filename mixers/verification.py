"""Whether a trained mixture is better than a baseline, by repeats with common seeds.

Runs with equal seeds share initial weights and data order, so the seeds are pairs. The interval of the mean difference
d is Student's t on the paired differences:  d +- t_{0.975, s-1} std(d) / sqrt(s).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import stdtrit

from mixers.errors import InvalidInput, TooFewRuns

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Contrast:
    """Mean of (recommended - baseline) in the objective's unit, its 95 % interval, and the word for it."""

    difference: float
    low: float
    high: float
    verdict: str


def contrast(recommended: Float[np.ndarray, " s"], baseline: Float[np.ndarray, " s"]) -> Contrast:
    """Compare measured objectives of two mixtures; entry i of both was trained with the same seed.

    Raises:
        TooFewRuns: fewer than two pairs.
    """
    if recommended.shape != baseline.shape:
        raise InvalidInput(f"{len(recommended)} and {len(baseline)} measurements are not pairs")
    count = len(recommended)
    if count < 2:
        raise TooFewRuns(f"a comparison needs at least 2 seeds that both mixtures share; there are {count}")
    paired = recommended - baseline
    mean, spread = float(paired.mean()), float(paired.std(ddof=1) / np.sqrt(count))
    half = float(stdtrit(count - 1, (1 + CONFIDENCE) / 2)) * spread
    low, high = mean - half, mean + half
    if high < 0:
        verdict = "better"
    elif low > 0:
        verdict = "worse"
    else:
        verdict = "no difference shown"
    return Contrast(mean, low, high, verdict)


def mean_and_stderr(values: Float[np.ndarray, " s"]) -> tuple[float, float]:
    """Mean and standard error of repeats; the standard error of a single one is NaN."""
    if len(values) == 0:
        raise TooFewRuns("a mean needs at least 1 measurement")
    error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")
    return float(values.mean()), error
