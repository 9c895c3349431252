"""The law to use when nobody says which: chosen for each target by errors on runs that no candidate had seen.

Candidates are the laws that can be fitted, and their stack, whose error is taken by a second cross-validation. The
score is the root mean square error out of fold inside of each scale, relative to the target's best; part of it is that
of all targets and of the objective, as in stack.py, because with few runs a target's own score is too noisy to choose
by. On top of that:

* Where there are several scales, every law is also fitted without the largest one and ranks its runs. Laws that rank
  them much worse than the best are no candidates: fit and transfer order the laws differently.
* A law without a gradient must be clearly better: it cannot be solved exactly, and does not extrapolate.
* With few mixtures only robust laws are candidates, and one choice is made for all targets. With fewer still nothing
  can be learned about laws, and the most robust is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int

from mixers.folds import mixture_labels
from mixers.laws.base import MixingLaw
from mixers.laws.combination import Combination, Evidence, Shares
from mixers.laws.residuals import Errors, errors_of
from mixers.laws.stack import POOLED_RUNS, factors, share_sentence, stacked

# Mixtures below which a choice among many laws is a choice of noise, and below which any choice is.
_FEW_MIXTURES = 16
_TOO_FEW_MIXTURES = 8
# Rank correlation at the largest scale that a candidate may lack against the best.
_TRANSFER_SLACK = 0.1
# How much smaller the error of a law without a gradient must be.
_STEPS_PRICE = 1.05


class Auto(Combination):
    """One law, or the stack of several, for each target."""

    name: ClassVar[str] = "auto"
    summary: ClassVar[str] = "for each target the law, or the stack of laws, with the least error out of fold"

    def __init__(self, members: Sequence[MixingLaw]) -> None:
        self.members = tuple(members)

    def weigh(self, evidence: Evidence) -> Shares:
        """A choice for each target, with its reason."""
        field = _candidates(evidence)
        errors = errors_of(evidence.runs, [evidence.guesses[m].mean for m in field.index], evidence.fold)
        names = tuple(evidence.members[m].name for m in field.index)
        single = np.sqrt(np.einsum("tmm->tm", errors.mean_square()))  # the last row is the objective's
        handicap = np.array([1.0 if evidence.members[m].has_gradient else _STEPS_PRICE for m in field.index])
        rivals = single * handicap
        stack_share = stacked(errors)
        if not field.few:
            rivals = np.concatenate([rivals, _stack_error(errors)[:, None] * _stack_price(stack_share, handicap)], 1)
        own_runs = errors.count.sum(axis=0)[:-1]
        choice = _choose(rivals, np.zeros(len(own_runs)) if field.few else own_runs)
        columns, reasons = [], []
        for i, c in enumerate(choice):
            column = stack_share[:, i] if c == len(names) else np.eye(len(names))[c]
            columns.append(column)
            reasons.append(_reason(names, rivals[i], int(c), column))
        full = np.zeros((len(evidence.members), len(choice)))
        full[field.index] = np.stack(columns, axis=1)
        everyone = tuple(law.name for law in evidence.members)
        return Shares(everyone, full, factors(evidence), tuple(reasons), field.note)


@dataclass(frozen=True)
class _Field:
    """Indices of the members that may be chosen, whether there are few mixtures, and a sentence about it."""

    index: list[int]
    few: bool
    note: str


def _candidates(evidence: Evidence) -> _Field:
    everyone = list(range(len(evidence.members)))
    count = int(mixture_labels(evidence.runs).max()) + 1
    if count < _FEW_MIXTURES:
        robust = [m for m in everyone if evidence.members[m].robust > 0] or everyone
        if count < _TOO_FEW_MIXTURES:
            first = max(robust, key=lambda m: evidence.members[m].robust)
            note = f"only {count} mixtures: they cannot tell laws apart, so the most robust that fits is taken"
            return _Field([first], True, note)
        names = ", ".join(evidence.members[m].name for m in robust)
        return _Field(robust, True, f"only {count} mixtures: one choice for all targets, among robust laws ({names})")
    rank = np.array([evidence.transfer.get(law.name, np.nan) for law in evidence.members])
    if np.isnan(rank).all():
        return _Field(everyone, False, "")
    good = np.flatnonzero(np.nan_to_num(rank, nan=-1.0) >= np.nanmax(rank) - _TRANSFER_SLACK).tolist()
    lost = [f"{evidence.members[m].name} ({rank[m]:.2f})" for m in everyone if m not in good]
    best = int(np.nanargmax(rank))
    note = f"at the largest scale, not seen, {evidence.members[best].name} ranks best ({rank[best]:.2f})"
    if lost:
        note += f"; no candidates for ranking it much worse: {', '.join(lost)}"
    return _Field(good, False, note)


def _stack_error(errors: Errors) -> Float[np.ndarray, " t1"]:
    """Root mean square error of the stack on each fold, with the shares from the other folds.

    For the objective with the mean of the shares: those of single targets cannot be applied to it.
    """
    total, count = np.zeros(errors.count.shape[1]), np.maximum(errors.count.sum(axis=0), 1)
    for f in range(len(errors.count)):
        if errors.count[f].sum() == 0:
            continue
        share = stacked(errors.without(f))
        share = np.concatenate([share, share.mean(axis=1, keepdims=True)], axis=1)
        total += np.einsum("mt,tml,lt->t", share, errors.moments[f], share)
    return np.asarray(np.sqrt(total / count))


def _stack_price(share: np.ndarray, handicap: np.ndarray) -> float:
    return _STEPS_PRICE if (share * (handicap > 1)[:, None]).sum() > 0 else 1.0


def _choose(rivals: Float[np.ndarray, "t1 c"], own_runs: Float[np.ndarray, " t"] | Int[np.ndarray, " t"]) -> np.ndarray:
    relative = rivals / np.maximum(rivals.min(axis=1, keepdims=True), 1e-12)
    # Twice the best error or ten times: a law that fails one target is not judged by how badly.
    bounded = np.minimum(relative, 2.0)
    shared = (bounded[:-1].mean(axis=0) + bounded[-1]) / 2
    own = own_runs[:, None] / (own_runs[:, None] + POOLED_RUNS)
    return np.argmin(own * relative[:-1] + (1 - own) * shared, axis=1)


def _reason(names: tuple[str, ...], rivals: np.ndarray, choice: int, share: np.ndarray) -> str:
    labels = [*names, "stack"]
    what = f"stack of {share_sentence(names, share)}" if choice == len(names) else names[choice]
    others = [c for c in np.argsort(rivals, kind="stable") if c != choice]
    if not others:
        return f"{what}: the only candidate"
    step = 100 * (rivals[others[0]] / max(rivals[choice], 1e-12) - 1)
    against = "about the same" if abs(step) < 1 else f"{step:.0f} % more"
    if step <= -1:
        against = f"{-step:.0f} % less here, but not over all targets"
    return f"{what}: the error of {labels[others[0]]} is {against}"
