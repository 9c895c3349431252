"""The law of effective data transferred (Li, Liu & Xing, ICML 2025: data mixing for supervised fine-tuning).

    y_i(p, D) = E_i + C_i (D_i^eff)^-beta_i,     D_i^eff = D_o + sum_{j != o} k_ij D_j^alpha_i,     D_j = p_j D / D_ref

with o the target's own domain: data of another domain is worth k_ij D_j^alpha_i of its own. One exponent a target, as
k_ij and alpha_ij can hardly be told apart by a swarm, and 0 < alpha <= 1: then D^eff is concave and rises in p, and y
convex. D is left out where the runs do not tell it, or are all of one D.

A target that is no domain (a benchmark, say) has no data of its own: D_i^eff = sum_j k_ij D_j^alpha_i over all domains,
each k pulled to 1 instead of to 0, so that the law shrinks to "every domain helps alike". With k = 0 the law is BiMix's
with a constant. Shares near 0 and effective data near 0 follow the tangents of shares.py, which keep the law convex.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float

from mixers.laws.base import FittedLaw, Form, MixingLaw, Needs
from mixers.laws.levels import Levels
from mixers.laws.noise import Noise
from mixers.laws.parametric import Problem, fit_penalised, in_spread_units
from mixers.laws.shares import ShareCurves, share_floor, share_power
from mixers.laws.tokens import reference_tokens, relative_tokens
from mixers.types import Observations, Prediction, Scale

# Where the fits start and what few runs are pulled towards: the slope of log losses in log data, the share of a loss
# that data removes, and the exponent of other domains' data.
_SLOPE, _REMOVED, _ALPHA = 0.15, 0.5, 0.7
_MAX_SLOPE, _MIN_REMOVED, _MIN_ALPHA = 2.0, 0.05, 0.1
# At unit strength, on the level, the slope, the share and the exponent.
_HEAD_PENALTY = (1e-9, 1e-1, 1.0, 10.0)
# Effective data below this is none: it keeps the fit finite where every k of a run's domains is 0.
_LEAST_DATA = 1e-6
# Parameters before the transfers.
_HEAD = 4


@dataclass(frozen=True)
class FittedEffectiveData(FittedLaw):
    """E, C, beta, alpha (t,); k (t, k) with 0 at the own domain, which ``own`` (t, k) marks; where D^eff (t,) and the
    shares (k,) go on along their tangents."""

    law: ClassVar[str] = "effective_data"
    domain_names: tuple[str, ...]
    target_names: tuple[str, ...]
    constant: Float[np.ndarray, " t"]
    front: Float[np.ndarray, " t"]
    beta: Float[np.ndarray, " t"]
    alpha: Float[np.ndarray, " t"]
    transfer: Float[np.ndarray, "t k"]
    least_data: Float[np.ndarray, " t"]
    floor: Float[np.ndarray, " k"]
    own: Bool[np.ndarray, "t k"]
    reference_tokens: float
    noise: Noise

    @property
    def form(self) -> Form:
        return Form.CONVEX

    def predict(self, p: Float[np.ndarray, "*batch k"], scale: Scale) -> Prediction:
        ratio = relative_tokens(scale.broadcast(p.shape[:-1])[1], self.reference_tokens)
        data = ratio[..., None] * (p @ self.own.T.astype(float))
        for i, alpha in enumerate(self.alpha):  # one target at a time: (*batch, t, k) is too large for many candidates
            grown, _, _ = share_power(p, self.floor, -alpha[None])
            data[..., i] += ratio**alpha * (grown @ self.transfer[i])
        curve, _, _ = share_power(data, self.least_data, self.beta)
        return Prediction(self.constant + self.front * curve, self.noise.std(p))

    def value_and_gradient(
        self, p: Float[np.ndarray, " k"], scale: Scale
    ) -> tuple[Float[np.ndarray, " t"], Float[np.ndarray, "t k"]]:
        """Means and their derivatives -C beta (D^eff)^(-beta - 1) dD^eff / dp_j."""
        ratio = relative_tokens(scale.broadcast(())[1], self.reference_tokens)
        grown, by_share, _ = share_power(p, self.floor, -self.alpha[:, None])
        worth = (ratio**self.alpha)[:, None] * self.transfer
        data = ratio * (self.own @ p) + (worth * grown).sum(axis=1)
        curve, by_data, _ = share_power(data, self.least_data, self.beta)
        gradient = (self.front * by_data)[:, None] * (ratio * self.own + worth * by_share)
        return self.constant + self.front * curve, gradient


@dataclass(frozen=True)
class EffectiveData(MixingLaw):
    """A power law in the data that is worth as much as the target's own."""

    name: ClassVar[str] = "effective_data"
    summary: ClassVar[str] = "a power law in a target's own data plus what other domains' are worth (Li et al. 2025)"
    needs: ClassVar[Needs] = Needs(lambda k: min(k + 2, 5), "its constant, level, exponent and transfers must be held")
    knows_tokens: ClassVar[bool] = True

    def fit(self, runs: Observations, rng: np.random.Generator) -> FittedEffectiveData:
        del rng  # the start is fixed
        self.check_enough(runs)
        y, weight, scale = in_spread_units(runs.losses)
        reference = reference_tokens(runs.train_tokens)
        ratio = relative_tokens(runs.train_tokens, reference)
        swarm = _Swarm(runs.p, ratio, share_floor(runs.p), _own_domains(runs), y, weight, Levels.of(y, weight))
        fitted = fit_penalised(swarm.problem())
        level, slope, removed, alpha = fitted.theta[:, :_HEAD].T
        transfer = np.where(swarm.own, 0.0, fitted.theta[:, _HEAD:])
        usual, _, _ = swarm.usual_data(transfer, alpha[:, None])
        beta = slope / removed
        return FittedEffectiveData(
            runs.domains.names,
            runs.targets.names,
            (swarm.levels.floor + level * (1 - removed)) * scale,
            level * removed * usual[:, 0] ** beta * scale,
            beta,
            alpha,
            transfer,
            swarm.least_data(transfer, alpha),
            swarm.floor,
            swarm.own,
            reference,
            Noise.of(runs.p, fitted.residual_std * scale),
        )


def _own_domains(runs: Observations) -> np.ndarray:
    """Shape (t, k): True at the domain of the target's name; nowhere for a target that is no domain."""
    domains = np.array([name.lower() for name in runs.domains.names])
    return np.array([name.lower() == domains for name in runs.targets.names])


@dataclass(frozen=True)
class _Swarm:
    """Shares (n, k), relative tokens (n,), floors (k,), own domains (t, k), and losses (t, n) in spread units."""

    p: np.ndarray
    ratio: np.ndarray
    floor: np.ndarray
    own: np.ndarray
    y: np.ndarray
    weight: np.ndarray
    levels: Levels

    @cached_property
    def curves(self) -> ShareCurves:
        """The powers of the shares (n, k)."""
        return ShareCurves.of(self.p, self.floor)

    @cached_property
    def usual_share(self) -> np.ndarray:
        """The mean share of each domain (k,), never 0."""
        return np.maximum(self.p.mean(axis=0), self.floor)

    def problem(self) -> Problem:
        """theta = (level, w, v, alpha, k_1 .. k_k), which state the law at the usual mixture and tokens:

            y = f + level (1 - v + v (D^eff / D_usual)^(-w / v)),      E = f + level (1 - v), beta = w / v

        Runs show the level, the slope w at the usual data and, hardly, the share v of the level that data removes. E, C
        and beta can trade places; these cannot, and the fit does not have to follow a curved valley.
        """
        t, k = self.own.shape
        centre_k = np.repeat(np.where(self.own.any(axis=1), 0.0, 1.0)[:, None], k, axis=1)
        usual, _, _ = self.usual_data(np.where(self.own, 0.0, centre_k), np.full((t, 1), _ALPHA))
        level = np.maximum(self.levels.middle - self.levels.floor, 1e-6)
        head = np.concatenate([level[:, None], np.tile([_SLOPE, _REMOVED, _ALPHA], (t, 1))], axis=1)
        centre = np.concatenate([head, centre_k], axis=1)
        transfers = self._transfer_penalty(level * _SLOPE / usual[:, 0])
        penalty = np.concatenate([np.tile(_HEAD_PENALTY, (t, 1)), transfers], axis=1)
        lower = np.array([0.0, 0.0, _MIN_REMOVED, _MIN_ALPHA, *[0.0] * k])
        upper = np.array([np.inf, _MAX_SLOPE, 1.0, 1.0, *[np.inf] * k])
        return Problem(self._model, self.y, self.weight, centre[None].copy(), lower, upper, centre, penalty)

    def _transfer_penalty(self, slope: np.ndarray) -> np.ndarray:
        """With the slope dy / dD^eff (t,): under it the transfers explain the whole spread, each in proportion to the
        usual share of its domain (as in bimix_multi.py)."""
        grown, _ = self.curves.power_and_by_alpha(np.array(-_ALPHA))
        variation = max(float(grown.var(axis=0) @ self.usual_share), 1e-9)
        return slope[:, None] ** 2 * variation / self.usual_share

    def least_data(self, transfer: np.ndarray, alpha: np.ndarray) -> np.ndarray:
        """Half of the least effective data of a run that a target was fitted to (t,)."""
        grown, _ = self.curves.power_and_by_alpha(-alpha[:, None, None])
        data = self._own_data() + self.ratio ** alpha[:, None] * (grown @ transfer[:, :, None])[:, :, 0]
        return np.maximum(data.min(axis=1), 2 * self._fit_floor()) / 2

    def _own_data(self) -> np.ndarray:
        """(t, n)"""
        return (self.own @ self.p.T) * self.ratio

    def _fit_floor(self) -> np.ndarray:
        """Below which effective data (t,) the tangent is followed in the fit: the own domain's floor, if it has one."""
        return np.where(self.own.any(axis=1), (self.own @ self.floor) * self.ratio.min(), _LEAST_DATA)

    def _model(self, theta: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        level, slope, removed, alpha = (theta[:, i : i + 1] for i in range(_HEAD))
        own, beta = self.own[index], slope / removed
        transfer = np.where(own, 0.0, theta[:, _HEAD:])
        grown, by_power = self.curves.power_and_by_alpha(-alpha[:, None])
        worth = self.ratio**alpha
        sent = (grown @ transfer[:, :, None])[:, :, 0]
        data = self._own_data()[index] + worth * sent
        usual, usual_by_transfer, usual_by_alpha = self.usual_data(transfer, alpha, index)
        curve, by_data, by_beta = (
            usual**beta * part for part in share_power(data, self._fit_floor()[index, None], beta)
        )
        by_beta = by_beta + curve * np.log(usual)
        by_data = level * removed * by_data * worth
        by_usual = level * slope * curve / usual
        jacobian = np.empty((*data.shape, theta.shape[1]))
        jacobian[:, :, 0] = 1 - removed + removed * curve
        jacobian[:, :, 1] = level * by_beta
        jacobian[:, :, 2] = level * (curve - 1 - beta * by_beta)
        by_alpha = sent * np.log(self.ratio) - (by_power @ transfer[:, :, None])[:, :, 0]
        jacobian[:, :, 3] = by_data * by_alpha + by_usual * usual_by_alpha
        np.multiply(grown, by_data[:, :, None], out=jacobian[:, :, _HEAD:])
        jacobian[:, :, _HEAD:] += by_usual[:, :, None] * usual_by_transfer[:, None]
        problem, domain = np.nonzero(own)
        jacobian[problem, :, _HEAD + domain] = 0.0
        return self.levels.floor[index, None] + level * jacobian[:, :, 0], jacobian

    def usual_data(
        self, transfer: np.ndarray, alpha: np.ndarray, index: np.ndarray | slice = slice(None)
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """D^eff (b, 1) of the mean mixture at the reference tokens; its derivatives by k (b, k) and alpha (b, 1)."""
        powers = self.usual_share**alpha
        data = (self.own[index] * self.usual_share + transfer * powers).sum(axis=1, keepdims=True)
        by_alpha = (transfer * powers * np.log(self.usual_share)).sum(axis=1, keepdims=True)
        return np.maximum(data, _LEAST_DATA), powers, by_alpha
