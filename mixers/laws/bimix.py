"""BiMix, the bivariate mixing law (Ge et al. 2024, arXiv 2405.14908, Eq. 1): proportion and training tokens.

    y_i(r, s) = A_i r^-alpha_i (B_i s^-beta_i + C_i),      r = p_j of the target's own domain j

Only the own domain enters. It is the domain of the target's name; for another target, the domain whose law fits best.
(A t, B / t, C / t) are the same law, so the fit holds log K = log A(B s^-beta + C) at the reference tokens and the
share u of it that more tokens remove:

    y_i = exp(log K) (r / r_ref)^-alpha (1 - u + u (s / s_ref)^-beta)

A share of 0 would be infinitely bad. Below a floor, half of the smallest share that was trained, r^-alpha goes on along
its tangent: finite, still falling, and still convex.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int

from mixers.errors import InvalidInput
from mixers.laws.base import FittedLaw, Form, MixingLaw, Needs
from mixers.laws.noise import Noise
from mixers.laws.parametric import Penalised, Problem, fit_penalised, in_spread_units
from mixers.laws.shares import share_floor, share_power
from mixers.laws.tokens import reference_tokens, relative_tokens
from mixers.types import Observations, Prediction, Scale

# For a target that is no domain, how many domains are tried: those whose log share correlates most with the losses.
_TRIED_DOMAINS = 4
_MAX_ALPHA = 3.0
_MIN_BETA, _MAX_BETA = 0.02, 2.0


@dataclass(frozen=True)
class FittedBiMix(FittedLaw):
    """theta (t, 4) = log K, alpha, u, beta; own (t,) = the domain of each target; the floor (k,) of the shares."""

    law: ClassVar[str] = "bimix"
    domain_names: tuple[str, ...]
    target_names: tuple[str, ...]
    theta: Float[np.ndarray, "t 4"]
    own: Int[np.ndarray, " t"]
    floor: Float[np.ndarray, " k"]
    reference_tokens: float
    noise: Noise

    @property
    def form(self) -> Form:
        return Form.CONVEX

    def predict(self, p: Float[np.ndarray, "*batch k"], scale: Scale) -> Prediction:
        _, tokens = scale.broadcast(p.shape[:-1])
        power, _, _ = share_power(p[..., self.own], self.floor[self.own], self.theta[:, 1])
        return Prediction(self._level(tokens) * power, self.noise.std(p))

    def value_and_gradient(
        self, p: Float[np.ndarray, " k"], scale: Scale
    ) -> tuple[Float[np.ndarray, " t"], Float[np.ndarray, "t k"]]:
        """Means, and derivatives that are 0 but for each target's own domain."""
        level = self._level(scale.broadcast(())[1])
        power, by_share, _ = share_power(p[self.own], self.floor[self.own], self.theta[:, 1])
        gradient = np.zeros((len(self.own), len(p)))
        gradient[np.arange(len(self.own)), self.own] = level * by_share
        return level * power, gradient

    def _level(self, tokens: np.ndarray) -> np.ndarray:
        """exp(log K) (1 - u + u (s / s_ref)^-beta), shape (*batch, t); tokens that are not known count as s_ref."""
        ratio = relative_tokens(tokens, self.reference_tokens)[..., None]
        log_level, _, u, beta = self.theta.T
        return np.exp(log_level) * (1 - u + u * ratio**-beta)


@dataclass(frozen=True)
class BiMix(MixingLaw):
    """A power law in the target's own share, times one in the tokens."""

    name: ClassVar[str] = "bimix"
    summary: ClassVar[str] = "a power law in the own domain's share and in the tokens (BiMix)"
    needs: ClassVar[Needs] = Needs(lambda k: 3, "level and exponent must both be held by data")
    robust: ClassVar[int] = 2
    knows_tokens: ClassVar[bool] = True

    def fit(self, runs: Observations, rng: np.random.Generator) -> FittedBiMix:
        del rng  # the starts are fixed
        self.check_enough(runs)
        if np.nanmin(runs.losses) <= 0:
            worst = runs.targets.names[int(np.argmin(np.nanmin(runs.losses, axis=0)))]
            raise InvalidInput(f"bimix needs positive losses; target {worst!r} has values of 0 or less")
        floor = share_floor(runs.p)
        reference = reference_tokens(runs.train_tokens)
        ratio = relative_tokens(runs.train_tokens, reference)
        y, weight, scale = in_spread_units(runs.losses)
        candidates = _own_domains(runs, floor)
        theta, own, deviation = _best_own(runs.p, floor, np.log(ratio), y, weight, candidates, reference > 0)
        theta[:, 0] += np.log(scale)
        noise = Noise.of(runs.p, deviation * scale)
        return FittedBiMix(runs.domains.names, runs.targets.names, theta, own, floor, reference, noise)


def _own_domains(runs: Observations, floor: np.ndarray) -> np.ndarray:
    """Shape (c, t): for each target the domains to try; a target named like a domain has just that one, repeated."""
    names = {name.lower(): j for j, name in enumerate(runs.domains.names)}
    tried = min(_TRIED_DOMAINS, len(names))
    share = np.log(np.maximum(runs.p, floor))
    share = share - share.mean(axis=0)
    columns = []
    for j, name in enumerate(runs.targets.names):
        if name.lower() in names:
            columns.append(np.full(tried, names[name.lower()]))
            continue
        rows = ~np.isnan(runs.losses[:, j])
        centred = runs.losses[rows, j] - runs.losses[rows, j].mean()
        size = np.sqrt((share[rows] ** 2).sum(axis=0))
        falling = -(centred @ share[rows]) / np.maximum(size, 1e-12)
        columns.append(np.argsort(-falling, kind="stable")[:tried])
    return np.stack(columns, axis=1)


def _best_own(
    p: np.ndarray,
    floor: np.ndarray,
    log_ratio: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray,
    candidates: np.ndarray,
    varies: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(theta (t, 4), own domain (t,), residual standard deviation (t,)) of the candidate that fits best."""
    best_theta, best_own, best_std = np.empty((len(y), 4)), candidates[0].copy(), np.full(len(y), np.inf)
    for own in np.unique(candidates, axis=0):
        fitted = _fit(p[:, own].T, floor[own], log_ratio, y, weight, varies)
        better = fitted.residual_std < best_std
        best_theta[better], best_own[better] = fitted.theta[better], own[better]
        best_std[better] = fitted.residual_std[better]
    return best_theta, best_own, best_std


def _fit(
    share: np.ndarray, floor: np.ndarray, log_ratio: np.ndarray, y: np.ndarray, weight: np.ndarray, varies: bool
) -> Penalised:
    """theta = (log K, alpha, u, beta) from own shares (t, n) and floors (t,); without a spread of tokens u stays 0."""
    t = len(y)

    def model(theta: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        log_k, alpha, u, beta = (theta[:, i : i + 1] for i in range(4))
        power = np.exp(-beta * log_ratio)
        tokens = 1 - u + u * power
        mixed, _, by_alpha = share_power(share[index], floor[index, None], alpha)
        front = np.exp(log_k) * mixed
        by_tokens = [front * (power - 1), -front * u * log_ratio * power]
        return front * tokens, np.stack([front * tokens, np.exp(log_k) * by_alpha * tokens, *by_tokens], axis=2)

    middle = np.log(np.maximum((y * weight).sum(axis=1) / weight.sum(axis=1), 1e-9))
    starts = np.stack(
        [np.stack([middle, np.full(t, 0.1), np.full(t, u if varies else 0.0), np.full(t, 0.3)], 1) for u in (0.2, 0.7)]
    )
    # A share of 0 .. 1 cannot leave u, and 50 is far beyond any log loss.
    lower = np.array([-50.0, 0.0, 0.0, _MIN_BETA])
    upper = np.array([50.0, _MAX_ALPHA, 0.999 if varies else 0.0, _MAX_BETA])
    centre = np.tile(np.array([0.0, 0.0, 0.5, 0.3]), (t, 1))
    penalty = np.tile(np.array([1e-9, 1e-2, 1e-6, 1e-3]), (t, 1))
    return fit_penalised(Problem(model, y, weight, starts, lower, upper, centre, penalty), strengths=(1.0,))
