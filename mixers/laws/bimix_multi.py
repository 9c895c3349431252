"""BiMix with every domain in every target: Olmix's extension (arXiv 2602.12237, BimixRegressor) with tokens.

    y(p, s) = f + (c + sum_j F_j (p_j / q_j)^-alpha_j) (1 - u + u (s / s_ref)^-beta),      F_j, alpha_j >= 0

with q_j the mean share of domain j in the runs, and f = 0 for losses (for negated metrics a constant far below them, so
that the bracket is positive). A domain of which a target learns nothing has F_j = 0. Olmix has no c; there, a term with
alpha_j = 0 plays its part. Every term is held by its slope b_j = F_j alpha_j at the usual share,

    y = f + (level + sum_j b_j G(p_j / q_j; alpha_j)) (...),      G(x; alpha) = (x^-alpha - 1) / alpha  (see shares.py)

because the runs show slopes: a change of alpha then changes the curvature alone, and alpha = 0 is the logarithm.

2 k parameters are more than most swarms can hold. A ridge on the slopes shrinks the law to its mean; the exponents are
tied to one a target, and freed only where that predicts left-out runs better (see tied.py). Each target is convex in p.

A sum of curves promises more the more domains are near their best, and where no run had many of them there, more than
anything that was seen. So the bracket is believed to a little below the best run only, and levels off beneath:

    B(x) = x for x >= edge,      edge - depth (1 - exp((x - edge) / depth)) below

convex and rising, so that convexity and the ranking of mixtures by a target stay.
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
from mixers.laws.shares import ShareCurves, share_floor
from mixers.laws.tied import tied_then_own
from mixers.laws.tokens import reference_tokens, relative_tokens
from mixers.types import Observations, Prediction, Scale

# The usual exponent: where the fits start and what few runs are pulled towards.
_ALPHA, _MAX_ALPHA = 0.3, 2.0
_MIN_BETA, _MAX_BETA = 0.02, 2.0
# Parameters before the slopes: level, tied alpha, u, beta.
_HEAD = 4
# Penalties at unit strength: on the tied exponent, and on what a domain's own exponent adds to it.
_ALPHA_PENALTY, _OWN_PENALTY = 10.0, 100.0
# Edge and depth, in ranges of the brackets of the runs: how far below the best run the sum is believed.
_REACH = 0.25
# Keeps the levelling defined where all runs have the same bracket.
_LEAST_DEPTH = 1e-9


@dataclass(frozen=True)
class FittedBiMixMulti(FittedLaw):
    """f, level, u, beta, edge, depth (t,); b and alpha (t, k); q and the floors of p_j / q_j (k,)."""

    law: ClassVar[str] = "bimix_multi"
    domain_names: tuple[str, ...]
    target_names: tuple[str, ...]
    offset: Float[np.ndarray, " t"]
    level: Float[np.ndarray, " t"]
    slope: Float[np.ndarray, "t k"]
    alpha: Float[np.ndarray, "t k"]
    u: Float[np.ndarray, " t"]
    beta: Float[np.ndarray, " t"]
    usual_share: Float[np.ndarray, " k"]
    floor: Float[np.ndarray, " k"]
    edge: Float[np.ndarray, " t"]
    depth: Float[np.ndarray, " t"]
    reference_tokens: float
    noise: Noise

    @property
    def form(self) -> Form:
        return Form.CONVEX

    def predict(self, p: Float[np.ndarray, "*batch k"], scale: Scale) -> Prediction:
        tokens = self._tokens_factor(scale.broadcast(p.shape[:-1])[1])
        curves = ShareCurves.of(p / self.usual_share, self.floor)
        bracket = np.empty((*p.shape[:-1], len(self.level)))
        for i in range(len(self.level)):  # one target at a time: (*batch, t, k) is too large for many candidates
            bracket[..., i] = self.level[i] + curves.value(self.alpha[i]) @ self.slope[i]
        return Prediction(self.offset + self._believed(bracket)[0] * tokens, self.noise.std(p))

    def value_and_gradient(
        self, p: Float[np.ndarray, " k"], scale: Scale
    ) -> tuple[Float[np.ndarray, " t"], Float[np.ndarray, "t k"]]:
        """Means and their derivatives B' b_j G'(p_j / q_j) / q_j times the factor of the tokens."""
        tokens = self._tokens_factor(scale.broadcast(())[1])
        curves = ShareCurves.of(p / self.usual_share, self.floor)
        value, rise = self._believed(self.level + (self.slope * curves.value(self.alpha)).sum(axis=1))
        gradient = (tokens * rise)[:, None] * self.slope * curves.slope(self.alpha) / self.usual_share
        return self.offset + tokens * value, gradient

    def _believed(self, bracket: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """B and its derivative, shape (*batch, t)."""
        below = np.minimum(bracket - self.edge, 0.0)
        rise = np.exp(below / self.depth)
        return np.maximum(bracket, self.edge) - self.depth * (1 - rise), rise

    def _tokens_factor(self, tokens: np.ndarray) -> np.ndarray:
        """1 - u + u (s / s_ref)^-beta, shape (*batch, t)."""
        return 1 - self.u + self.u * relative_tokens(tokens, self.reference_tokens)[..., None] ** -self.beta


@dataclass(frozen=True)
class BiMixMulti(MixingLaw):
    """A sum of power laws in all shares, times one in the tokens."""

    name: ClassVar[str] = "bimix_multi"
    summary: ClassVar[str] = "a power law in every domain's share, times one in the tokens (Olmix's BiMix)"
    needs: ClassVar[Needs] = Needs(lambda k: min(k + 1, 4), "its level, slopes and exponent must all be held by data")
    knows_tokens: ClassVar[bool] = True
    fitted: ClassVar[type[FittedBiMixMulti]] = FittedBiMixMulti
    least_alpha: ClassVar[float] = 0.0

    def fit(self, runs: Observations, rng: np.random.Generator) -> FittedBiMixMulti:
        del rng  # the start is fixed
        self.check_enough(runs)
        y, weight, scale = in_spread_units(runs.losses)
        levels = Levels.of(y, weight)
        floor = share_floor(runs.p)
        usual = np.maximum(runs.p.mean(axis=0), floor)
        reference = reference_tokens(runs.train_tokens)
        ratio = relative_tokens(runs.train_tokens, reference)
        curves = ShareCurves.of(runs.p / usual, floor / usual)
        swarm = _Swarm(curves, usual, np.log(ratio), y, weight, levels, self.least_alpha)
        fitted = tied_then_own(swarm.tied(), swarm.own)
        k = len(usual)
        level, tied, u, beta = fitted.theta[:, :_HEAD].T
        slope, own = fitted.theta[:, _HEAD : _HEAD + k], fitted.theta[:, _HEAD + k :]
        alpha = swarm.within(tied[:, None] + own)
        edge, depth = swarm.edge(level, slope, alpha)
        return self.fitted(
            runs.domains.names,
            runs.targets.names,
            levels.floor * scale,
            level * scale,
            slope * scale[:, None],
            alpha,
            u,
            beta,
            usual,
            floor / usual,
            edge * scale,
            depth * scale,
            reference,
            Noise.of(runs.p, fitted.residual_std * scale),
        )


@dataclass(frozen=True)
class _Swarm:
    """The curves of the shares relative to the usual ones (n, k), the usual shares (k,), log relative tokens (n,), and
    losses (t, n) in spread units with their levels."""

    curves: ShareCurves
    usual_share: np.ndarray
    log_ratio: np.ndarray
    y: np.ndarray
    weight: np.ndarray
    levels: Levels
    least_alpha: float

    def within(self, alpha: np.ndarray) -> np.ndarray:
        """Exponents, cut to what they may be."""
        return np.clip(alpha, self.least_alpha, _MAX_ALPHA)

    def edge(self, level: np.ndarray, slope: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Edge and depth (t,) of each target, from the brackets of the runs where it was measured."""
        low, high = np.empty(len(level)), np.empty(len(level))
        for i in range(len(level)):
            bracket = level[i] + self.curves.value(alpha[i])[self.weight[i] > 0] @ slope[i]
            low[i], high[i] = bracket.min(), bracket.max()
        depth = _REACH * np.maximum(high - low, _LEAST_DEPTH)
        return low - depth, depth

    def tied(self) -> Problem:
        """theta = (level, alpha, u, beta, slopes b_1 .. b_k)."""
        t, k = len(self.y), len(self.usual_share)
        varies = bool(np.ptp(self.log_ratio) > 0)
        level = self.levels.middle - self.levels.floor
        head = np.stack([level, *(np.full(t, x) for x in (_ALPHA, 0.5 if varies else 0.0, 0.3))], axis=1)
        start = np.concatenate([head, np.zeros((t, k))], axis=1)
        centre = np.concatenate([np.tile([0.0, _ALPHA, 0.5, 0.3], (t, 1)), np.zeros((t, k))], axis=1)
        penalty = np.tile([1e-9, _ALPHA_PENALTY, 1e-6, 1e-3, *self._slope_penalty()], (t, 1))
        lower = np.array([-np.inf, self.least_alpha, 0.0, _MIN_BETA, *[0.0] * k])
        upper = np.array([np.inf, _MAX_ALPHA, 0.999 if varies else 0.0, _MAX_BETA, *[np.inf] * k])
        return Problem(self._model(own=False), self.y, self.weight, start[None], lower, upper, centre, penalty)

    def _slope_penalty(self) -> np.ndarray:
        """Under it the terms explain the whole spread, each in proportion to the usual share of its domain: a domain
        that is seldom trained may not bend the law as much as one that fills half of every mixture."""
        variation = self.curves.value(np.array(_ALPHA)).var(axis=0)
        return max(float(variation @ self.usual_share), 1e-9) / self.usual_share

    def own(self, tied: Penalised) -> Problem:
        """theta = (those of the tied law, delta_1 .. delta_k) with alpha_j = alpha + delta_j."""
        plain, (t, k) = self.tied(), (len(self.y), len(self.usual_share))
        free = np.full(k, _MAX_ALPHA - self.least_alpha)
        penalty = np.concatenate([plain.penalty, np.full((t, k), _OWN_PENALTY)], axis=1)
        return Problem(
            self._model(own=True),
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
            level, tied, u, beta = (theta[:, i : i + 1] for i in range(_HEAD))
            slope = theta[:, _HEAD : _HEAD + k]
            summed = tied + theta[:, _HEAD + k :] if own else tied
            alpha = self.within(summed)
            curve, by_alpha = self.curves.value_and_by_alpha(alpha[:, None])
            power = np.exp(-beta * self.log_ratio)
            tokens = 1 - u + u * power
            bracket = level + (curve @ slope[:, :, None])[:, :, 0]
            # An exponent that was cut does not move.
            moves = np.where(summed == alpha, slope, 0.0)
            jacobian = np.empty((len(theta), len(self.log_ratio), theta.shape[1]))
            jacobian[:, :, 0] = tokens
            jacobian[:, :, 1] = (by_alpha @ moves[:, :, None])[:, :, 0] * tokens
            jacobian[:, :, 2] = bracket * (power - 1)
            jacobian[:, :, 3] = -bracket * u * self.log_ratio * power
            np.multiply(curve, tokens[:, :, None], out=jacobian[:, :, _HEAD : _HEAD + k])
            if own:
                np.multiply(by_alpha, moves[:, None] * tokens[:, :, None], out=jacobian[:, :, _HEAD + k :])
            return offset[index, None] + bracket * tokens, jacobian

        return model
