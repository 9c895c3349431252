"""Predictions as 90 % intervals, in the direction of each target."""

from __future__ import annotations

from app.schemas.fits import Interval
from mixers.recommendation import interval
from mixers.types import Prediction, Targets


def target_intervals(predicted: Prediction, targets: Targets) -> dict[str, dict[str, float]]:
    """The 90 % interval of each target, in its own direction."""
    rows = zip(targets.names, predicted.mean.tolist(), predicted.std.tolist(), targets.maximised, strict=True)
    return {name: interval_of(mean, std, maximised).model_dump() for name, mean, std, maximised in rows}


def interval_of(mean: float, std: float, maximised: bool = False) -> Interval:
    """The 90 % interval; of a target that is maximised, in its own direction."""
    low, high = (float(end) for end in interval(mean, std))
    return Interval(mean=-mean, low=-high, high=-low) if maximised else Interval(mean=mean, low=low, high=high)
