"""The baseline that every law must beat: the mean of the runs, whatever the mixture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from mixers.laws.base import FittedLaw, Form, MixingLaw, Needs
from mixers.laws.noise import residual_std
from mixers.types import Observations, Prediction, Scale


@dataclass(frozen=True)
class FittedMean(FittedLaw):
    """mean (t,) and standard deviation (t,) of the measured losses."""

    law: ClassVar[str] = "mean"
    domain_names: tuple[str, ...]
    target_names: tuple[str, ...]
    mean: Float[np.ndarray, " t"]
    deviation: Float[np.ndarray, " t"]

    @property
    def form(self) -> Form:
        return Form.CONVEX

    def predict(self, p: Float[np.ndarray, "*batch k"], scale: Scale) -> Prediction:
        del scale  # fitted within one scale
        shape = (*p.shape[:-1], len(self.mean))
        return Prediction(np.broadcast_to(self.mean, shape).copy(), np.broadcast_to(self.deviation, shape).copy())

    def value_and_gradient(
        self, p: Float[np.ndarray, " k"], scale: Scale
    ) -> tuple[Float[np.ndarray, " t"], Float[np.ndarray, "t k"]]:
        """The mean, and derivatives of 0."""
        del scale
        return self.mean.copy(), np.zeros((len(self.mean), len(p)))


@dataclass(frozen=True)
class Mean(MixingLaw):
    """Predicts the mean of each target."""

    name: ClassVar[str] = "mean"
    summary: ClassVar[str] = "the mean of the runs, whatever the mixture: the baseline"
    needs: ClassVar[Needs] = Needs(lambda k: 1, "a mean needs a value")
    robust: ClassVar[int] = 1

    def fit(self, runs: Observations, rng: np.random.Generator) -> FittedMean:
        del rng
        self.check_enough(runs)
        mean = np.nanmean(runs.losses, axis=0)
        deviation = residual_std(runs.losses - mean, 1.0)
        return FittedMean(runs.domains.names, runs.targets.names, mean, deviation)
