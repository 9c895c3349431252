"""From numbers that a team names, ``max_weights={"web": 0.5}``, to constraints that remember where they came from."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mixers.constraints import ConstraintKind, GroupBounds, Stated, TotalChange, domain_index
from mixers.epochs import epoch_caps, epoch_limits, most_tokens, rounded_up
from mixers.errors import Infeasible, InvalidInput
from mixers.infeasibility import SLACK
from mixers.types import Domains

# So many domains are named in a sentence.
_NAMED = 8


def stated_bounds(
    names: tuple[str, ...],
    lower: np.ndarray,
    upper: np.ndarray,
    groups: GroupBounds | None,
    change: TotalChange | None,
) -> tuple[Stated, ...]:
    """Bounds that say something as stated constraints."""
    stated = [Stated(ConstraintKind.MIN_WEIGHT, names[j], float(lower[j]), True) for j in np.flatnonzero(lower > 0)]
    stated += [Stated(ConstraintKind.MAX_WEIGHT, names[j], float(upper[j]), False) for j in np.flatnonzero(upper < 1)]
    if groups is not None:
        for name, low, high in zip(groups.names, groups.lower.tolist(), groups.upper.tolist(), strict=True):
            if low > 0:
                stated.append(Stated(ConstraintKind.MIN_GROUP, name, low, True))
            if high < 1:
                stated.append(Stated(ConstraintKind.MAX_GROUP, name, high, False))
    if change is not None:
        stated.append(Stated(ConstraintKind.TOTAL_CHANGE, "", change.at_most, False))
    return tuple(stated)


def named_bounds(domains: Domains, named: Mapping[str, float], kind: ConstraintKind) -> list[Stated]:
    """Lower or upper bounds of named domains."""
    at_least = kind is ConstraintKind.MIN_WEIGHT
    for name, value in named.items():
        domain_index(domains.names, name, "a bound")
        if not 0 <= value <= 1:
            raise InvalidInput(f"a bound of {name!r} is {value:g}; it must lie in 0 .. 1")
    return [Stated(kind, name, float(value), at_least) for name, value in named.items()]


def stated_epoch_caps(
    domains: Domains, target_tokens: float | None, max_epochs: float | None, each: Mapping[str, float] | None = None
) -> list[Stated]:
    """The epoch caps below 1; a supply that is too small for the run is refused in tokens and epochs."""
    if (target_tokens is None) != (max_epochs is None and not each):
        raise InvalidInput("an epoch cap needs both target_tokens and max_epochs")
    if target_tokens is None:
        return []
    limits = epoch_limits(domains, max_epochs, each)
    caps = epoch_caps(domains, target_tokens, limits)
    supply = float(most_tokens(domains, limits).sum())
    if supply < target_tokens * (1 - SLACK):
        raise Infeasible(_short_supply(domains, target_tokens, limits, supply))
    return [
        Stated(
            ConstraintKind.EPOCH_CAP,
            domains.names[j],
            float(caps[j]),
            False,
            per_token=float(limits[j]) / target_tokens,
            epochs=float(limits[j]),
        )
        for j in np.flatnonzero(caps < 1)
    ]


def _short_supply(domains: Domains, target_tokens: float, limits: np.ndarray, supply: float) -> str:
    """What the caps leave of each domain, and what would do: more epochs of all, or a shorter run."""
    order = np.argsort(-limits * domains.available_tokens, kind="stable")
    rows = [f"{domains.names[j]} {limits[j]:g} x {domains.available_tokens[j]:.4g}" for j in order[:_NAMED]]
    if len(order) > _NAMED:
        rows.append(f"{len(order) - _NAMED} more")
    equal = bool((limits == limits[0]).all())
    caps = f"{limits[0]:g} epochs" if equal else "the epochs allowed"
    gap = f"{caps} of all domains give {supply:.4g} tokens ({', '.join(rows)}), {target_tokens - supply:.4g} fewer"
    way = "fewer tokens"
    if supply > 0:
        times = target_tokens / supply
        more = (
            f"{rounded_up(times * limits[0]):g} epochs"
            if equal
            else f"{rounded_up(times):g} times as many epochs of each domain"
        )
        way = f"{more}, or a run of at most {supply:.4g} tokens"
    return f"{gap} than the {target_tokens:.4g} of the run; allow {way}"


def frozen_weights(domains: Domains, frozen: Mapping[str, float | None], current: np.ndarray | None) -> list[Stated]:
    """Both sides of each frozen weight; None is the current one."""
    stated = []
    for name, asked in frozen.items():
        j = domain_index(domains.names, name, "a frozen weight")
        value = float(current[j]) if asked is None and current is not None else asked
        if value is None or not 0 <= value <= 1:
            raise InvalidInput(f"the frozen weight of {name!r} is {value}; it must lie in 0 .. 1")
        stated += [Stated(ConstraintKind.FROZEN, name, float(value), side) for side in (True, False)]
    return stated


def single_changes(domains: Domains, current: np.ndarray | None, most: float | None) -> list[Stated]:
    """How far each weight may move from the current one."""
    if current is None or most is None:
        return []
    if not (np.isfinite(most) and most >= 0):
        raise InvalidInput(f"the bound on the change of a weight is {most}; it must be 0 or more")
    pairs = [(name, float(value)) for name, value in zip(domains.names, current, strict=True)]
    low = [Stated(ConstraintKind.MAX_CHANGE, n, v - most, True) for n, v in pairs if v - most > 0]
    return low + [Stated(ConstraintKind.MAX_CHANGE, n, v + most, False) for n, v in pairs if v + most < 1]
