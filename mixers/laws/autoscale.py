"""AutoScale as a regression over runs (Kang et al. 2024, arXiv 2407.20177; the form is Olmix's, arXiv 2602.12237).

    y(p, D) = L + B sum_j (N_j (a_j + p_j))^-g_j,     N_j = (D / D_ref) / (a_j + q_j),     a_j, g_j >= 0

Domain j counts as if the other domains held a_j of equivalent data of it, in shares of the run. N_j is the unit in
which it counts 1 at its mean share q_j of the runs and their usual tokens, as the amounts of the paper count 1 in its
base run. B states the unit of the loss, which the published form (B = 1) leaves to the data. A domain of which a target
learns nothing has g_j = 0, and adds its B to the constant.

The fit holds the law by its level and slopes at the mean mixture, as the runs show these:

    y = f + level (1 + sum_j w_j G(N_j (a_j + p_j); g_j)),      g_j = w_j / r,      G(x; g) = (x^-g - 1) / g

with r = B / level and f = 0 for losses (see levels.py). The equivalent data are tied to one a_j / q_j a target, and
freed only where that predicts left-out runs better (see tied.py). Each target is convex in p. What follows from a
fitted law in closed form is in mixers/separable.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from mixers.fitting import Model
from mixers.laws.base import FittedLaw, Form, MixingLaw, Needs
from mixers.laws.levels import Levels
from mixers.laws.noise import Noise
from mixers.laws.parametric import Penalised, Problem, in_spread_units
from mixers.laws.shares import share_floor
from mixers.laws.tied import tied_then_own
from mixers.laws.tokens import reference_tokens, relative_tokens
from mixers.types import Observations, Prediction, Scale

# Where the fits start and what few runs are pulled towards: B in levels, and the equivalent data in usual shares.
_RATIO, _EQUIVALENT = 0.5, 1.0
_MIN_RATIO, _MAX_RATIO = 0.02, 1.0
# Equivalent data in usual shares: below the least a domain that is left out would be infinitely bad; beyond the most
# the curve is a straight line.
_LEAST_LOG, _MOST_LOG = np.log(0.03), np.log(50.0)
_MAX_EXPONENT = 4.0
# An exponent below this is treated as this: the curves divide by it.
_LEAST_EXPONENT = 1e-4
# At unit strength: on the level, r, the tied log a, and what a domain's own adds to it.
_HEAD_PENALTY, _OWN_PENALTY = (1e-9, 1.0, 3.0), 30.0
_HEAD = 3


@dataclass(frozen=True)
class FittedAutoScale(FittedLaw):
    """L and B (t,), a and g (t, k), q (k,)."""

    law: ClassVar[str] = "autoscale"
    domain_names: tuple[str, ...]
    target_names: tuple[str, ...]
    constant: Float[np.ndarray, " t"]
    front: Float[np.ndarray, " t"]
    equivalent: Float[np.ndarray, "t k"]
    exponent: Float[np.ndarray, "t k"]
    usual_share: Float[np.ndarray, " k"]
    reference_tokens: float
    noise: Noise

    @property
    def form(self) -> Form:
        return Form.CONVEX

    def predict(self, p: Float[np.ndarray, "*batch k"], scale: Scale) -> Prediction:
        ratio = relative_tokens(scale.broadcast(p.shape[:-1])[1], self.reference_tokens)[..., None]
        mean = np.empty((*p.shape[:-1], len(self.front)))
        for i, a in enumerate(self.equivalent):  # one target at a time: (*batch, t, k) is too large for many candidates
            data = ratio * (a + p) / (a + self.usual_share)
            mean[..., i] = self.constant[i] + self.front[i] * (data ** -self.exponent[i]).sum(axis=-1)
        return Prediction(mean, self.noise.std(p))

    def value_and_gradient(
        self, p: Float[np.ndarray, " k"], scale: Scale
    ) -> tuple[Float[np.ndarray, " t"], Float[np.ndarray, "t k"]]:
        """Means and their derivatives -B g_j (N_j (a_j + p_j))^-g_j / (a_j + p_j)."""
        ratio = relative_tokens(scale.broadcast(())[1], self.reference_tokens)
        data = self.equivalent + p
        terms = self.front[:, None] * (ratio * data / (self.equivalent + self.usual_share)) ** -self.exponent
        return self.constant + terms.sum(axis=1), -self.exponent * terms / data


@dataclass(frozen=True)
class AutoScale(MixingLaw):
    """A power law in every domain's tokens, each with the equivalent data that the others bring."""

    name: ClassVar[str] = "autoscale"
    summary: ClassVar[str] = "a power law in every domain's tokens plus equivalent data (AutoScale)"
    needs: ClassVar[Needs] = Needs(lambda k: min(k + 2, 5), "its level, slopes and equivalent data must be held")
    knows_tokens: ClassVar[bool] = True

    def fit(self, runs: Observations, rng: np.random.Generator) -> FittedAutoScale:
        del rng  # the start is fixed
        self.check_enough(runs)
        y, weight, scale = in_spread_units(runs.losses)
        reference = reference_tokens(runs.train_tokens)
        ratio = relative_tokens(runs.train_tokens, reference)
        usual = np.maximum(runs.p.mean(axis=0), share_floor(runs.p))
        swarm = _Swarm(runs.p / usual, usual, np.log(ratio), y, weight, Levels.of(y, weight))
        fitted = tied_then_own(swarm.tied(), swarm.own)
        k = len(runs.domains)
        level, ratio, tied = fitted.theta[:, :_HEAD].T
        slope, own = fitted.theta[:, _HEAD : _HEAD + k], fitted.theta[:, _HEAD + k :]
        return FittedAutoScale(
            runs.domains.names,
            runs.targets.names,
            (swarm.levels.floor + level * (1 - k * ratio)) * scale,
            level * ratio * scale,
            np.exp(np.clip(tied[:, None] + own, _LEAST_LOG, _MOST_LOG)) * usual,
            _exponent(slope, ratio[:, None]),
            usual,
            reference,
            Noise.of(runs.p, fitted.residual_std * scale),
        )


def _exponent(slope: np.ndarray, ratio: np.ndarray) -> np.ndarray:
    """g_j = w_j / r, within its limits."""
    return np.clip(slope / ratio, _LEAST_EXPONENT, _MAX_EXPONENT)


@dataclass(frozen=True)
class _Swarm:
    """Shares in usual shares (n, k), these (k,), log relative tokens (n,), and losses (t, n) in spread units."""

    shares: np.ndarray
    usual_share: np.ndarray
    log_ratio: np.ndarray
    y: np.ndarray
    weight: np.ndarray
    levels: Levels

    def tied(self) -> Problem:
        """theta = (level, r, log a in usual shares, w_1 .. w_k)."""
        t, k = len(self.y), len(self.usual_share)
        level = np.maximum(self.levels.middle - self.levels.floor, 1e-6)
        head = np.concatenate([level[:, None], np.tile([_RATIO, np.log(_EQUIVALENT)], (t, 1))], axis=1)
        centre = np.concatenate([head, np.zeros((t, k))], axis=1)
        penalty = np.concatenate([np.tile(_HEAD_PENALTY, (t, 1)), level[:, None] ** 2 * self._slope_penalty()], axis=1)
        lower = np.array([0.0, _MIN_RATIO, _LEAST_LOG, *[0.0] * k])
        upper = np.array([np.inf, _MAX_RATIO, _MOST_LOG, *[np.inf] * k])
        return Problem(self._model(False), self.y, self.weight, centre[None].copy(), lower, upper, centre, penalty)

    def _slope_penalty(self) -> np.ndarray:
        """Under it, times the square of the level, the terms explain the whole spread, each in proportion to the usual
        share of its domain (as in bimix_multi.py)."""
        variation = np.log(_EQUIVALENT + self.shares).var(axis=0)
        return max(float(variation @ self.usual_share), 1e-9) / self.usual_share

    def own(self, tied: Penalised) -> Problem:
        """theta = (those of the tied law, delta_1 .. delta_k), delta_j added to log a."""
        plain, (t, k) = self.tied(), (len(self.y), len(self.usual_share))
        free = np.full(k, _MOST_LOG - _LEAST_LOG)
        penalty = np.concatenate([plain.penalty, np.full((t, k), _OWN_PENALTY)], axis=1)
        return Problem(
            self._model(True),
            self.y,
            self.weight,
            np.concatenate([tied.theta, np.zeros((t, k))], axis=1)[None],
            np.concatenate([plain.lower, -free]),
            np.concatenate([plain.upper, free]),
            np.concatenate([plain.centre, np.zeros((t, k))], axis=1),
            penalty * tied.strength[:, None],
        )

    def _model(self, own: bool) -> Model:
        k, offset = len(self.usual_share), self.levels.floor

        def model(theta: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            level, ratio, tied = (theta[:, i : i + 1] for i in range(_HEAD))
            slope = theta[:, _HEAD : _HEAD + k]
            summed = tied + theta[:, _HEAD + k :] if own else tied
            log_a = np.clip(summed, _LEAST_LOG, _MOST_LOG)
            exponent = _exponent(slope, ratio)
            a = np.exp(log_a)[:, None]
            data = self.shares + a
            log_data = np.log(data)
            log_data += self.log_ratio[:, None] - np.log1p(a)
            inverse = 1 / exponent[:, None]
            power = np.exp(log_data * -exponent[:, None])
            curve = (power - 1) * inverse
            by_exponent = np.multiply(log_data, power, out=log_data)
            by_exponent += curve
            by_exponent *= -inverse
            # An exponent at a limit does not move with r and w, nor an a with its logarithm.
            moves = np.where((exponent > _LEAST_EXPONENT) & (exponent < _MAX_EXPONENT), exponent, 0.0)
            turned = (by_exponent @ (moves * slope)[:, :, None])[:, :, 0]
            by_log_a = np.divide(-a, data, out=data)
            by_log_a += a / (1 + a)
            by_log_a *= power
            by_log_a *= (level * slope * (summed == log_a))[:, None]
            jacobian = np.empty((*self.y[index].shape, theta.shape[1]))
            jacobian[:, :, 0] = 1 + (curve @ slope[:, :, None])[:, :, 0]
            jacobian[:, :, 1] = -level / ratio * turned
            jacobian[:, :, 2] = by_log_a.sum(axis=2)
            by_exponent *= moves[:, None]
            by_exponent += curve
            np.multiply(by_exponent, level[:, None], out=jacobian[:, :, _HEAD : _HEAD + k])
            if own:
                jacobian[:, :, _HEAD + k :] = by_log_a
            return offset[index, None] + level * jacobian[:, :, 0], jacobian

        return model
