"""Laws made of other laws: for each target, shares of members that were earned on runs they had not seen.

    mean_i(p) = sum_m w_im mu_im(p),     w_im >= 0, sum_m w_im = 1
    var_i(p)  = sum_m w_im ( (f_im s_im(p))^2 + (mu_im(p) - mean_i(p))^2 )

with f_im the conformal factor of member m: where the members disagree, the combination is less sure than each of them.
How the shares come about is what tells such laws apart (stack.py, auto.py).
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Int

from mixers.agreement import objective_values, spearman_within
from mixers.errors import TooFewRuns
from mixers.folds import fold_by_mixture
from mixers.laws.base import FittedLaw, Form, MixingLaw, Needs
from mixers.laws.cross_fit import CrossFit, Guess, LeftOut
from mixers.laws.json_record import JsonRecord, Loader
from mixers.types import Observations, Prediction, Scale

_FOLDS = 5


@dataclass(frozen=True)
class Evidence:
    """What the members did on runs that they had not seen.

    Args:
        members: those that could be fitted. guesses: one a member, NaN for runs that are not to be judged by.
        fold: of every run. transfer: rank correlation of the objective at the largest scale after a fit without it, one
            a member; empty where there is one scale only.
        skipped: the other members, and why.
    """

    runs: Observations
    members: tuple[MixingLaw, ...]
    guesses: tuple[Guess, ...]
    fold: Int[np.ndarray, " n"]
    transfer: dict[str, float] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Shares(JsonRecord):
    """Which members predict which target, and why.

    Args:
        members: m registry names. share: (m, t), columns sum to 1. factor: (m, t) conformal factors.
        reasons: a sentence a target. note: a sentence on what holds for all of them.
    """

    members: tuple[str, ...]
    share: Float[np.ndarray, "m t"]
    factor: Float[np.ndarray, "m t"]
    reasons: tuple[str, ...]
    note: str = ""

    def used(self) -> Int[np.ndarray, " u"]:
        """The members that have a share in any target."""
        return np.flatnonzero(self.share.sum(axis=1) > 0)


@dataclass(frozen=True)
class FittedCombination(FittedLaw):
    """Fitted members (u), their shares and factors (u, t), and a reason a target."""

    law: ClassVar[str] = "combination"
    domain_names: tuple[str, ...]
    target_names: tuple[str, ...]
    parts: tuple[FittedLaw, ...]
    shares: Shares

    @property
    def form(self) -> Form:
        return min(part.form for part in self.parts)

    def predict(self, p: Float[np.ndarray, "*batch k"], scale: Scale) -> Prediction:
        guesses = [part.predict(p, scale) for part in self.parts]
        return blend([g.mean for g in guesses], [g.std for g in guesses], self.shares)

    def value_and_gradient(
        self, p: Float[np.ndarray, " k"], scale: Scale
    ) -> tuple[Float[np.ndarray, " t"], Float[np.ndarray, "t k"]]:
        """Shares of the members' values and gradients."""
        value, gradient = np.zeros(len(self.target_names)), np.zeros((len(self.target_names), len(p)))
        for part, share in zip(self.parts, self.shares.share, strict=True):
            own_value, own_gradient = part.value_and_gradient(p, scale)
            value += share * own_value
            gradient += share[:, None] * own_gradient
        return value, gradient

    def to_dict(self) -> dict[str, Any]:
        told = super().to_dict()
        return told | told.pop("shares")  # its keys stand beside those of the law

    @classmethod
    def from_dict(cls, data: dict[str, Any], load: Loader | None = None) -> FittedLaw:
        return super().from_dict(data | {"shares": data}, load)


class Combination(MixingLaw):
    """Earns the shares of ``members`` by cross-validation, then fits those that have any to all runs."""

    members: tuple[MixingLaw, ...]
    needs: ClassVar[Needs] = Needs(lambda k: 4, "its members are judged on runs that they have not seen")
    # Each member is told, or wrapped to be told, apart by scale.
    knows_params: ClassVar[bool] = True
    knows_tokens: ClassVar[bool] = True

    @abstractmethod
    def weigh(self, evidence: Evidence) -> Shares:
        """The shares that the evidence earns."""

    def fit(self, runs: Observations, rng: np.random.Generator) -> FittedCombination:
        self.check_enough(runs)
        fold = fold_by_mixture(runs, _FOLDS, rng)
        if fold.max() == 0:
            raise TooFewRuns(f"{self.name} needs runs of at least 2 mixtures to judge its members; these have 1")
        cross = CrossFit(runs, fold, int(rng.integers(2**62)))
        return self.fit_with(self.weigh(gather(cross, self.members)), runs, rng)

    def fit_with(self, shares: Shares, runs: Observations, rng: np.random.Generator) -> FittedCombination:
        """The members that have a share, fitted to all runs."""
        used = shares.used()
        by_name = {law.name: law for law in self.members}
        parts = tuple(by_name[shares.members[m]].fit(runs, rng) for m in used)
        kept = Shares(
            tuple(shares.members[m] for m in used),
            shares.share[used],
            shares.factor[used],
            shares.reasons,
            shares.note,
        )
        return FittedCombination(runs.domains.names, runs.targets.names, parts, kept)


def blend(mean: list[np.ndarray], std: list[np.ndarray], shares: Shares) -> Prediction:
    """The prediction (*batch, t) of members that predict ``mean`` and ``std``, in the order of the shares."""
    total = sum(share * one for share, one in zip(shares.share, mean, strict=True))
    variance = np.zeros_like(mean[0])
    for share, factor, one, deviation in zip(shares.share, shares.factor, mean, std, strict=True):
        variance += share * ((factor * deviation) ** 2 + (one - total) ** 2)
    return Prediction(np.asarray(total), np.sqrt(variance))


def gather(cross: CrossFit, members: tuple[MixingLaw, ...], without: int | None = None) -> Evidence:
    """What the members did on runs out of fold; with ``without``, as if the runs of that fold did not exist."""
    runs = cross.runs
    able, guesses, transfer, skipped = [], [], {}, {}
    value, group = objective_values(runs.losses, runs.targets.weights), runs.scale_groups
    for law in members:
        guess = cross.out_of_fold(law, without)
        if guess.problem is not None:
            skipped[law.name] = guess.problem
            continue
        able.append(law)
        guesses.append(guess)
        left = cross.transfer(without)
        if left is not None:
            beyond = cross.guess(law, left)
            rows = cross.largest & (cross.fold != without)
            predicted = objective_values(beyond.mean, runs.targets.weights)
            transfer[law.name] = spearman_within(value[rows], predicted[rows], group[rows])
    if not able:
        raise TooFewRuns("no member law could be fitted: " + "; ".join(f"{n}: {why}" for n, why in skipped.items()))
    return Evidence(runs, tuple(able), tuple(guesses), cross.fold, transfer, skipped)


def wanted_fits(
    cross: CrossFit, members: tuple[MixingLaw, ...], without: int | None = None
) -> list[tuple[MixingLaw, LeftOut]]:
    """The fits that :func:`gather` will ask for, so that they can be made side by side."""
    lefts = cross.judging() if without is None else cross.pairs(without)
    transfer = cross.transfer(without)
    if transfer is not None:
        lefts = [*lefts, transfer]
    return [(law, left) for left in lefts for law in members]
