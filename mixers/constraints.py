"""What a team may demand of a mixture, in the words that it was stated in.

p_j >= limit  or  p_j <= limit              min and max weight, epoch cap, frozen domain, change of one weight
sum of p_j over a group >= or <= limit      min and max of a group of domains; groups may overlap
1/2 sum_j |p_j - current_j| <= limit        total change: the share of the mixture that changes hands
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import Bool, Float

from mixers.epochs import rounded_up
from mixers.errors import InvalidInput


class ConstraintKind(StrEnum):
    """Where a limit came from."""

    MIN_WEIGHT = "min_weight"
    MAX_WEIGHT = "max_weight"
    EPOCH_CAP = "epoch_cap"
    FROZEN = "frozen"
    MAX_CHANGE = "max_change"
    MIN_GROUP = "min_group"
    MAX_GROUP = "max_group"
    TOTAL_CHANGE = "total_change"


_WORDS = {
    ConstraintKind.MIN_WEIGHT: "the lower bound of domain {!r}",
    ConstraintKind.MAX_WEIGHT: "the upper bound of domain {!r}",
    ConstraintKind.EPOCH_CAP: "the epoch cap of domain {!r}",
    ConstraintKind.FROZEN: "the frozen weight of domain {!r}",
    ConstraintKind.MAX_CHANGE: "the bound on the change of domain {!r}",
    ConstraintKind.MIN_GROUP: "the lower bound of group {!r}",
    ConstraintKind.MAX_GROUP: "the upper bound of group {!r}",
    ConstraintKind.TOTAL_CHANGE: "the bound on the total change",
}


@dataclass(frozen=True)
class Stated:
    """One side of one constraint.

    Args:
        subject: the domain or group that it names; empty for the total change.
        limit: in weight. at_least: whether it bounds from below.
        per_token: d limit / d available tokens of the domain; 0 but for an epoch cap.
        epochs: how often an epoch cap lets the domain be seen; None for the others.
    """

    kind: ConstraintKind
    subject: str
    limit: float
    at_least: bool
    per_token: float = 0.0
    epochs: float | None = None

    def __str__(self) -> str:
        side = "at least" if self.at_least else "at most"
        passes = "" if self.epochs is None else f"{self.epochs:g} epochs: "
        return f"{_WORDS[self.kind].format(self.subject)} ({passes}{side} {self.limit:.6g})"

    def eased(self, amount: float) -> str:
        """How an epoch cap that gives way by ``amount`` of weight is to be written; empty for the others."""
        if self.epochs is None or self.limit <= 0:
            return ""
        return f", to {rounded_up(self.epochs * (self.limit + amount) / self.limit):g} epochs"


@dataclass(frozen=True)
class GroupBounds:
    """lower_g <= sum of p over the members of g <= upper_g, for named groups that may overlap."""

    names: tuple[str, ...]
    members: Bool[np.ndarray, "g k"]
    lower: Float[np.ndarray, " g"]
    upper: Float[np.ndarray, " g"]

    def __post_init__(self) -> None:
        for i, name in enumerate(self.names):
            low, high = self.lower[i], self.upper[i]
            if not (0 <= low <= 1 and 0 <= high <= 1):
                raise InvalidInput(f"bounds of group {name!r} are {low:g} and {high:g}; they must lie in 0 .. 1")


@dataclass(frozen=True)
class TotalChange:
    """1/2 sum_j |p_j - current_j| <= at_most: at most that share of the mixture changes hands."""

    current: Float[np.ndarray, " k"]
    at_most: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.at_most) and self.at_most >= 0):
            raise InvalidInput(f"the bound on the total change is {self.at_most}; it must be 0 or more")


def group_bounds(
    domain_names: Sequence[str],
    groups: Mapping[str, Sequence[str]],
    least: Mapping[str, float],
    most: Mapping[str, float],
) -> GroupBounds | None:
    """The bounds of the groups that have one; None when no group has.

    Raises:
        InvalidInput: a bound of a group that is not defined, or a member that is no domain, by name.
    """
    for name in (*least, *most):
        if name not in groups:
            known = ", ".join(groups) or "none"
            raise InvalidInput(f"a bound names group {name!r}; known are {known}")
    bounded = tuple(name for name in groups if name in least or name in most)
    members = np.zeros((len(bounded), len(domain_names)), dtype=bool)
    for i, group in enumerate(bounded):
        if len(groups[group]) == 0:
            raise InvalidInput(f"group {group!r} has a bound but no domain")
        for domain in groups[group]:
            members[i, domain_index(domain_names, domain, f"group {group!r}")] = True
    if not bounded:
        return None
    lower = np.array([float(least.get(name, 0.0)) for name in bounded])
    upper = np.array([float(most.get(name, 1.0)) for name in bounded])
    return GroupBounds(bounded, members, lower, upper)


def domain_index(domain_names: Sequence[str], name: str, where: str) -> int:
    """The position of the named domain, or an error that says where the name stood."""
    if name not in domain_names:
        raise InvalidInput(f"{where} names domain {name!r}; known are {', '.join(domain_names)}")
    return list(domain_names).index(name)
