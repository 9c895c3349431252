"""What survives when the domain set changes: mixture reuse (Olmix, arXiv 2602.12237).

The ratios among unaffected domains are frozen at p~ (normalised), and the domains become one virtual domain:

    r = [rho, weights of the affected domains]        p_j = rho p~_j   for a frozen domain j

so that a swarm of 3 (c + 2) runs is enough for c affected domains, however many are frozen. An epoch cap k on every
domain caps rho at min_j k N_j / (R p~_j): the virtual domain has min_j N_j / p~_j available tokens.

How much this may cost grows with the coupling of the frozen and the affected domains under a log-linear law,

    kappa = || (1 + a_fix + a_comp) * a_fix ||,     a_fix,i, a_comp,i: length of target i's slopes on either

and with 1 - rho. A frozen domain that carries much of kappa is worth recomputing with the affected ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float

from mixers.constraints import GroupBounds, TotalChange, domain_index
from mixers.errors import Infeasible, InvalidInput
from mixers.laws.log_linear import FittedLogLinear
from mixers.simplex import FeasibleSet
from mixers.types import Domains, Observations, check_weights

VIRTUAL = "reused"
# Runs keep the frozen ratios when no weight is off by more: tables round weights to 3 decimals.
RATIO_TOLERANCE = 1e-3
_SLACK = 1e-9


@dataclass(frozen=True)
class Reuse:
    """A domain set of which some domains are frozen in their ratios.

    Args:
        domains: the whole set, k domains.
        frozen: names of the unaffected domains. ratios: p~, shape (len(frozen),), normalised on construction.
        virtual: the name of the domain that stands for them.
    """

    domains: Domains
    frozen: tuple[str, ...]
    ratios: Float[np.ndarray, " f"]
    virtual: str = VIRTUAL

    def __post_init__(self) -> None:
        if len(self.frozen) == 0 or self.ratios.shape != (len(self.frozen),):
            raise InvalidInput(f"{len(self.frozen)} frozen domains do not fit ratios of shape {self.ratios.shape}")
        if len(set(self.frozen)) < len(self.frozen):
            raise InvalidInput("a domain is frozen twice")
        for name in self.frozen:
            domain_index(self.domains.names, name, "the list of frozen domains")
        if not (np.isfinite(self.ratios).all() and (self.ratios >= 0).all() and self.ratios.sum() > 0):
            raise InvalidInput("the frozen ratios must be numbers of 0 or more, and one of them positive")
        if self.virtual in self.affected:
            raise InvalidInput(f"an affected domain is named {self.virtual!r}; give the virtual domain another name")
        object.__setattr__(self, "ratios", self.ratios / self.ratios.sum())

    @classmethod
    def of_mixture(
        cls, domains: Domains, p: Float[np.ndarray, " k"], affected: Sequence[str], virtual: str = VIRTUAL
    ) -> Reuse:
        """Everything frozen but ``affected``, at the ratios of the mixture ``p`` on ``domains``."""
        check_weights(p, domains.names)
        for name in affected:
            domain_index(domains.names, name, "the list of affected domains")
        frozen = tuple(name for name in domains.names if name not in affected)
        ratios = np.array([p[domains.names.index(name)] for name in frozen])
        return cls(domains, frozen, ratios, virtual)

    @cached_property
    def affected(self) -> tuple[str, ...]:
        """The domains whose weights are open, in the order of the set."""
        return tuple(name for name in self.domains.names if name not in self.frozen)

    @cached_property
    def expansion(self) -> Float[np.ndarray, "c k"]:
        """p = r @ expansion; its first row holds p~."""
        matrix = np.zeros((1 + len(self.affected), len(self.domains)))
        matrix[0, self._places(self.frozen)] = self.ratios
        matrix[np.arange(1, len(matrix)), self._places(self.affected)] = 1.0
        return matrix

    @cached_property
    def collapsed(self) -> Domains:
        """The virtual domain, then the affected ones."""
        fix, comp = self._places(self.frozen), self._places(self.affected)
        used = self.ratios > 0
        tokens = (self.domains.available_tokens[fix][used] / self.ratios[used]).min()
        return Domains(
            (self.virtual, *self.affected),
            np.append(self.domains.prior[fix].sum(), self.domains.prior[comp]),
            np.append(tokens, self.domains.available_tokens[comp]),
        )

    @property
    def swarm_size(self) -> int:
        """Runs that the collapsed set needs: 3 (c + 2) for c affected domains."""
        return 3 * (len(self.affected) + 2)

    def expand(self, r: Float[np.ndarray, "*batch c"]) -> Float[np.ndarray, "*batch k"]:
        """Weights of all domains from those of the collapsed set."""
        check_weights(r, self.collapsed.names)
        return r @ self.expansion

    def collapse(
        self, p: Float[np.ndarray, "*batch k"], tolerance: float = RATIO_TOLERANCE
    ) -> Float[np.ndarray, "*batch c"]:
        """Weights of the collapsed set from those of all domains.

        Raises:
            InvalidInput: a mixture does not keep the frozen ratios, naming the domain that is furthest off.
        """
        check_weights(p, self.domains.names)
        fix = self._places(self.frozen)
        rho = p[..., fix].sum(axis=-1)
        asked = rho[..., None] * self.ratios
        off = np.abs(p[..., fix] - asked)
        if off.size and off.max() > tolerance:
            at = np.unravel_index(int(np.argmax(off)), off.shape)
            where = f" in row {at[0]}" if p.ndim > 1 else ""
            raise InvalidInput(
                f"the weight of frozen domain {self.frozen[at[-1]]!r}{where} is {p[..., fix][at]:.6g}; the frozen "
                f"ratios ask for {asked[at]:.6g}, within {tolerance:g}"
            )
        return np.concatenate([rho[..., None], p[..., self._places(self.affected)]], axis=-1)

    def collapse_runs(self, runs: Observations, tolerance: float = RATIO_TOLERANCE) -> Observations:
        """The runs on the collapsed set. Every run must keep the frozen ratios, or use no frozen domain at all."""
        if runs.domains.names != self.domains.names:
            raise InvalidInput(f"the runs are on other domains than {', '.join(self.domains.names)}")
        return replace(runs, domains=self.collapsed, p=self.collapse(runs.p, tolerance))

    def collapse_feasible(self, feasible: FeasibleSet) -> FeasibleSet:
        """What the constraints on all domains leave of the collapsed set: rho p~_j keeps the bounds of every j.

        Raises:
            Infeasible: the frozen ratios cannot hold under the bounds, naming the domains or groups that conflict.
            InvalidInput: a group, or a mixture that changes are counted from, that the virtual domain cannot stand for.
        """
        if feasible.domains.names != self.domains.names:
            raise InvalidInput(f"the constraints are on other domains than {', '.join(self.domains.names)}")
        low, high = self._bounds_of_virtual(feasible)
        comp = self._places(self.affected)
        lower, upper = np.append(low, feasible.lower[comp]), np.append(high, feasible.upper[comp])
        groups = None
        if feasible.groups is not None:
            groups, own = self._collapse_groups(feasible.groups)
            lower[0], upper[0] = max(low, own[0]), min(high, own[1])
            if lower[0] > upper[0] + _SLACK:
                raise Infeasible(
                    f"the frozen ratios cannot hold: groups and bounds ask for {lower[0]:.6g} to {upper[0]:.6g} of the "
                    "frozen domains together"
                )
            lower[0] = min(lower[0], upper[0])
        change = feasible.change
        if change is not None:
            # With the ratios kept on both sides the frozen domains change by |rho - rho_now| in all.
            change = TotalChange(self.collapse(change.current), change.at_most)
        return FeasibleSet(self.collapsed, lower, upper, groups, change)

    def _bounds_of_virtual(self, feasible: FeasibleSet) -> tuple[float, float]:
        fix = self._places(self.frozen)
        lower, upper = feasible.lower[fix], feasible.upper[fix]
        unused = self.ratios == 0
        if (lower[unused] > _SLACK).any():
            name = self.frozen[int(np.argmax(np.where(unused, lower, -1)))]
            raise Infeasible(f"domain {name!r} must have {lower[self.frozen.index(name)]:.6g}; its frozen ratio is 0")
        share = np.where(unused, 1.0, self.ratios)
        least, most = np.where(unused, 0.0, lower / share), np.where(unused, 1.0, np.minimum(upper / share, 1.0))
        low, high = int(np.argmax(least)), int(np.argmin(most))
        if least[low] > most[high] + _SLACK:
            raise Infeasible(
                f"the frozen ratios cannot hold: the lower bound of {self.frozen[low]!r} asks for at least "
                f"{least[low]:.6g} of them together, the upper bound of {self.frozen[high]!r} allows {most[high]:.6g}"
            )
        return float(least[low]), float(max(most[high], least[low]))

    def _collapse_groups(self, groups: GroupBounds) -> tuple[GroupBounds | None, tuple[float, float]]:
        """Groups of the collapsed set, and the bounds on rho of those that hold frozen domains only."""
        held = groups.members[:, self._places(self.frozen)] @ self.ratios
        open_ = groups.members[:, self._places(self.affected)]
        alone = (held > 0) & ~open_.any(axis=1)
        mixed = (held > 0) & (held < 1 - _SLACK) & open_.any(axis=1)
        if mixed.any():
            name = groups.names[int(np.argmax(mixed))]
            raise InvalidInput(
                f"group {name!r} holds affected domains and a part of the frozen ones; the virtual domain cannot stand "
                "for a part: bound the group without them, or let them be affected"
            )
        empty = (held == 0) & ~open_.any(axis=1) & (groups.lower > _SLACK)
        if empty.any():
            name = groups.names[int(np.argmax(empty))]
            raise Infeasible(f"group {name!r} has a lower bound, and all of its domains have a frozen ratio of 0")
        low = float(np.max(groups.lower[alone] / held[alone], initial=0.0))
        high = float(np.min(groups.upper[alone] / held[alone], initial=1.0))
        rest = np.flatnonzero(open_.any(axis=1))
        if len(rest) == 0:
            return None, (low, high)
        members = np.concatenate([held[rest, None] > 0, open_[rest]], axis=1)
        names = tuple(groups.names[i] for i in rest)
        return GroupBounds(names, members, groups.lower[rest], groups.upper[rest]), (low, high)

    def _places(self, names: Sequence[str]) -> list[int]:
        return [self.domains.names.index(name) for name in names]


@dataclass(frozen=True)
class Coupling:
    """kappa, and how much of it goes when one frozen domain is recomputed with the affected ones, shape (f,)."""

    kappa: float
    frozen: tuple[str, ...]
    released: Float[np.ndarray, " f"]

    def most_coupled(self, share: float) -> tuple[str, ...]:
        """The frozen domains that each carry at least ``share`` of kappa, the most coupled first."""
        order = np.argsort(-self.released, kind="stable")
        return tuple(self.frozen[j] for j in order if self.released[j] > 0 and self.released[j] >= share * self.kappa)


def coupling(law: FittedLogLinear, frozen: Sequence[str]) -> Coupling:
    """The coupling of the ``frozen`` domains of a fitted log-linear law with its other domains.

    A constant added to all slopes of a target changes nothing but its offset, so the slopes are taken from their mean.
    """
    slopes = law.b - law.b.mean(axis=1, keepdims=True)
    fixed = np.zeros(len(law.domain_names), dtype=bool)
    fixed[[domain_index(law.domain_names, name, "the list of frozen domains") for name in frozen]] = True
    kappa = _kappa(slopes, fixed)
    released = np.empty(len(frozen))
    for i, name in enumerate(frozen):
        without = fixed.copy()
        without[law.domain_names.index(name)] = False
        released[i] = kappa - _kappa(slopes, without)
    return Coupling(kappa, tuple(frozen), released)


def _kappa(slopes: np.ndarray, fixed: np.ndarray) -> float:
    of_fixed, of_others = (np.linalg.norm(slopes[:, columns], axis=1) for columns in (fixed, ~fixed))
    return float(np.linalg.norm((1 + of_fixed + of_others) * of_fixed))
