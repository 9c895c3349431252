"""Makes a law that does not know N or D usable on runs of several scales: one fit a scale.

Runs are grouped by the axes that the law does not know (N, D, or both). A scale with fewer runs than the law can use
gets no fit of its own. A prediction at a scale without a fit takes the nearest fitted scale (in log N and log D), and
moves the level of each target by

    exp( L(scale) - L(nearest) ),    L = g + e log N + f log D, least squares on the log mean loss of the scales

for targets with positive losses: the shape of such a law is known only where it was fitted, the level a little beyond.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from mixers.errors import TooFewRuns
from mixers.laws.base import FittedLaw, Form, MixingLaw, Needs
from mixers.types import Observations, Prediction, Scale

# Levels further than a factor of 3 from any fitted scale are not believed.
_MAX_SHIFT = float(np.log(3.0))
# Keeps the level curve determined with two or three scales; exponents of loss in N and D are about 0.05 to 0.1.
_RIDGE = 1e-3


@dataclass(frozen=True)
class FittedPerScale(FittedLaw):
    """One fitted law a scale. scales (g, 2) = log N, log D with 0 for an axis that was not told apart; level (t, 3)."""

    law: ClassVar[str] = "per_scale"
    nan_is_null: ClassVar[frozenset[str]] = frozenset({"scales"})
    domain_names: tuple[str, ...]
    target_names: tuple[str, ...]
    parts: tuple[FittedLaw, ...]
    scales: Float[np.ndarray, "g 2"]
    level: Float[np.ndarray, "t 3"]
    splits: tuple[bool, bool]

    @property
    def form(self) -> Form:
        return min(part.form for part in self.parts)

    def predict(self, p: Float[np.ndarray, "*batch k"], scale: Scale) -> Prediction:
        batch = p.shape[:-1]
        rows = p.reshape(-1, p.shape[-1])
        asked = self._coordinates(scale, (len(rows),) if batch else (1,), batch)
        nearest, shift = self._nearest(asked)
        params, tokens = (np.reshape(axis, -1) for axis in scale.broadcast(batch))
        mean = np.empty((len(rows), len(self.target_names)))
        std = np.empty_like(mean)
        for i in np.unique(nearest):
            here = nearest == i
            part = self.parts[i].predict(rows[here], Scale(params[here], tokens[here]))
            mean[here], std[here] = part.mean, part.std
        shape = (*batch, mean.shape[1])
        return Prediction((mean * shift).reshape(shape), (std * shift).reshape(shape))

    def value_and_gradient(
        self, p: Float[np.ndarray, " k"], scale: Scale
    ) -> tuple[Float[np.ndarray, " t"], Float[np.ndarray, "t k"]]:
        """Those of the nearest scale's law, with its level moved."""
        nearest, shift = self._nearest(self._coordinates(scale, (1,), ()))
        value, gradient = self.parts[int(nearest[0])].value_and_gradient(p, scale)
        return value * shift[0], gradient * shift[0][:, None]

    def _coordinates(self, scale: Scale, shape: tuple[int, ...], batch: tuple[int, ...]) -> np.ndarray:
        axes = [np.broadcast_to(np.reshape(axis, -1), shape) for axis in scale.broadcast(batch)]
        return _log_scale(np.stack(axes, axis=-1), self.splits)

    def _nearest(self, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Index of the nearest fitted scale (m,) and factor of the level (m, t)."""
        difference = asked[:, None] - self.scales[None]
        distance = np.where(np.isnan(difference), 0.0, np.abs(difference)).sum(axis=2)
        nearest = np.argmin(distance, axis=1)
        away = np.nan_to_num(asked - self.scales[nearest])
        shift = away @ self.level[:, 1:].T
        return nearest, np.exp(np.clip(shift, -_MAX_SHIFT, _MAX_SHIFT))


class PerScale(MixingLaw):
    """Fits ``inner`` within each scale that it does not know by itself."""

    knows_params: ClassVar[bool] = False
    knows_tokens: ClassVar[bool] = False

    def __init__(self, inner: MixingLaw) -> None:
        self.inner = inner

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.inner.name

    @property
    def summary(self) -> str:  # type: ignore[override]
        return self.inner.summary

    @property
    def has_gradient(self) -> bool:  # type: ignore[override]
        return self.inner.has_gradient

    @property
    def combined(self) -> bool:  # type: ignore[override]
        return self.inner.combined

    @property
    def robust(self) -> int:  # type: ignore[override]
        return self.inner.robust

    @property
    def needs(self) -> Needs:  # type: ignore[override]
        return self.inner.needs

    def fit(self, runs: Observations, rng: np.random.Generator) -> FittedPerScale:
        splits = (not self.inner.knows_params, not self.inner.knows_tokens)
        keys = _log_scale(np.stack([runs.model_params, runs.train_tokens], axis=1), splits)
        scales, group = np.unique(np.nan_to_num(keys, nan=-1.0), axis=0, return_inverse=True)
        parts, fitted, reason = [], [], ""
        for i in range(len(scales)):
            rows = np.flatnonzero(group.reshape(-1) == i)
            try:
                parts.append(self.inner.fit(runs.rows(rows), rng))
                fitted.append(keys[rows[0]])
            except TooFewRuns as error:
                reason = str(error)
        if not parts:
            where = "" if len(scales) == 1 else f" at each of {len(scales)} scales"
            raise TooFewRuns(reason + where)
        level = _level_curve(runs, keys)
        return FittedPerScale(runs.domains.names, runs.targets.names, tuple(parts), np.array(fitted), level, splits)


def _log_scale(scale: np.ndarray, splits: tuple[bool, bool]) -> np.ndarray:
    """log N, log D (m, 2); an axis that is not told apart is 0, one that is not known NaN."""
    with np.errstate(divide="ignore"):
        return np.where(np.array(splits), np.log(scale), 0.0)


def _level_curve(runs: Observations, keys: np.ndarray) -> np.ndarray:
    """g, e, f (t, 3) of L = g + e log N + f log D on the runs' log losses; zeros for targets with negative values."""
    level = np.zeros((len(runs.targets), 3))
    centre = np.nan_to_num(np.nanmean(np.where(np.isnan(keys).all(axis=0), 0.0, keys), axis=0))
    design = np.concatenate([np.ones((len(runs), 1)), np.nan_to_num(keys - centre)], axis=1)
    for j in range(len(runs.targets)):
        rows = ~np.isnan(runs.losses[:, j])
        if runs.losses[rows, j].min() <= 0:
            continue
        x, y = design[rows], np.log(runs.losses[rows, j])
        ridge = np.diag([0.0, 1.0, 1.0]) * _RIDGE * len(x) + 1e-12 * np.eye(3)
        level[j] = np.linalg.solve(x.T @ x + ridge, x.T @ y)
    return level
