"""The set of mixtures that may be recommended: the simplex cut by bounds on domains, on groups, and on the change.

    F = {p : sum_j p_j = 1,  lower_j <= p_j <= upper_j,  lower_g <= sum_{j in g} p_j <= upper_g,
             1/2 sum_j |p_j - current_j| <= at_most}

An epoch cap is an upper bound: a run of R tokens that may see a domain of N_j unique tokens at most e times has
p_j <= e N_j / R (Olmix, arXiv 2602.12237, section 4). A frozen domain has equal bounds. The set is convex; where it
has bounds on domains only, its projections are water-filling, otherwise the dual of ``mixers/projections.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import linprog

from mixers.constraints import ConstraintKind, GroupBounds, Stated, TotalChange, group_bounds
from mixers.epochs import epoch_caps, epochs
from mixers.errors import Infeasible, InvalidInput
from mixers.infeasibility import SLACK, find_conflict, lifting
from mixers.named_constraints import frozen_weights, named_bounds, single_changes, stated_bounds, stated_epoch_caps
from mixers.projections import Rows, project_rows, water_fill
from mixers.types import Domains, check_weights

# Keeps the KL projection defined where the reference has no mass but a bound asks for some.
_FLOOR = 1e-12
_NAMED = 8

__all__ = ["FeasibleSet", "epoch_caps", "epochs"]


@dataclass(frozen=True)
class FeasibleSet:
    """Constraints on the weights of a domain set, checked to leave at least one mixture.

    Args:
        domains: gives the order of the k-axis.
        lower, upper: shape (k,), 0 <= lower <= upper <= 1.
        stated: the constraints as they were stated, for messages and prices; made from the bounds when left out.
    """

    domains: Domains
    lower: Float[np.ndarray, " k"]
    upper: Float[np.ndarray, " k"]
    groups: GroupBounds | None = None
    change: TotalChange | None = None
    stated: tuple[Stated, ...] = ()

    def __post_init__(self) -> None:
        names = self.domains.names
        lower, upper = np.array(self.lower, float), np.array(self.upper, float)
        if lower.shape != (len(names),) or upper.shape != (len(names),):
            raise InvalidInput(f"bounds of shapes {lower.shape} and {upper.shape} do not fit {len(names)} domains")
        for j, name in enumerate(names):
            if not 0 <= lower[j] <= 1 or not 0 <= upper[j] <= 1:
                raise InvalidInput(f"bounds of {name!r} are {lower[j]:g} and {upper[j]:g}; they must lie in 0 .. 1")
        stated = self.stated or stated_bounds(names, lower, upper, self.groups, self.change)
        object.__setattr__(self, "stated", stated)
        for label, values in (("lower", lower), ("upper", np.maximum(lower, upper))):
            values.setflags(write=False)
            object.__setattr__(self, label, values)
        self._check_bounds(lower, upper)
        if not self.plain and (conflict := find_conflict(names, stated, self.groups, self.change)) is not None:
            raise Infeasible(str(conflict))

    def _check_bounds(self, lower: np.ndarray, upper: np.ndarray) -> None:
        for j, name in enumerate(self.domains.names):
            if lower[j] > upper[j] + SLACK:
                raise Infeasible(
                    f"domain {name!r} must have at least {lower[j]:.6g} and at most {upper[j]:.6g}, "
                    f"{lower[j] - upper[j]:.3g} apart: {self.binding(j, True)} and {self._too_low(j)}"
                )
        if lower.sum() > 1 + SLACK:
            raise Infeasible(
                f"the lower bounds sum to {lower.sum():.6g}, {lower.sum() - 1:.3g} more than 1: {self._listed(True)}"
            )
        if upper.sum() < 1 - SLACK:
            raise Infeasible(
                f"the upper bounds sum to {upper.sum():.6g}, {1 - upper.sum():.3g} less than 1: {self._listed(False)}"
            )

    def _too_low(self, j: int) -> str:
        """The upper bound of domain ``j``, and the epochs that its lower bound would need."""
        bound = self.binding(j, False)
        eased = "" if bound is None else bound.eased(float(self.lower[j] - bound.limit))
        return f"{bound}{eased and '; relax it' + eased[1:]}"

    def _listed(self, at_least: bool) -> str:
        bound = [self.binding(j, at_least) for j in range(len(self.domains))]
        words = sorted((one for one in bound if one is not None), key=lambda one: one.limit, reverse=at_least)
        more = [] if len(words) <= _NAMED else [f"{len(words) - _NAMED} more"]
        return ", ".join([str(one) for one in words[:_NAMED]] + more)

    def binding(self, j: int, at_least: bool) -> Stated | None:
        """The constraint that sets the lower or upper bound of domain ``j``; None where only 0 or 1 does."""
        name = self.domains.names[j]
        group = (ConstraintKind.MIN_GROUP, ConstraintKind.MAX_GROUP, ConstraintKind.TOTAL_CHANGE)
        own = [s for s in self.stated if s.subject == name and s.at_least == at_least and s.kind not in group]
        return max(own, key=lambda s: s.limit if at_least else -s.limit, default=None)

    @property
    def plain(self) -> bool:
        """Whether there are bounds on single domains only."""
        return self.groups is None and self.change is None

    @classmethod
    def simplex(cls, domains: Domains) -> FeasibleSet:
        """No bounds but 0 and 1."""
        return cls(domains, np.zeros(len(domains)), np.ones(len(domains)))

    @classmethod
    def from_constraints(
        cls,
        domains: Domains,
        *,
        target_tokens: float | None = None,
        max_epochs: float | None = None,
        max_epochs_each: Mapping[str, float] | None = None,
        min_weights: Mapping[str, float] | None = None,
        max_weights: Mapping[str, float] | None = None,
        groups: Mapping[str, Sequence[str]] | None = None,
        min_groups: Mapping[str, float] | None = None,
        max_groups: Mapping[str, float] | None = None,
        frozen: Mapping[str, float | None] | None = None,
        current: Float[np.ndarray, " k"] | None = None,
        max_change: float | None = None,
        max_total_change: float | None = None,
    ) -> FeasibleSet:
        """The set that named constraints leave.

        Args:
            target_tokens, max_epochs: together an epoch cap; max_epochs_each: other caps of single domains.
            groups: the domains of each named group; min_groups, max_groups: bounds on the sum of their weights.
            frozen: fixed weights; None freezes the domain at its ``current`` weight.
            current: the mixture that changes are counted from.
            max_change: how far any one weight may move. max_total_change: the share of the mixture that may change
                hands, half of the L1 distance.

        Raises:
            InvalidInput: an unknown domain or group, half an epoch cap, or a change without a current mixture.
            Infeasible: naming the constraints that cannot hold together, and by how much they miss.
        """
        if current is not None:
            check_weights(current, domains.names)
        elif max_change is not None or max_total_change is not None or None in (frozen or {}).values():
            raise InvalidInput("a bound on the change, or a domain frozen as it is, needs the current mixture")
        stated = [
            *named_bounds(domains, min_weights or {}, ConstraintKind.MIN_WEIGHT),
            *named_bounds(domains, max_weights or {}, ConstraintKind.MAX_WEIGHT),
            *stated_epoch_caps(domains, target_tokens, max_epochs, max_epochs_each),
            *frozen_weights(domains, frozen or {}, current),
            *single_changes(domains, current, max_change),
        ]
        bounded = group_bounds(domains.names, groups or {}, min_groups or {}, max_groups or {})
        change = None if current is None or max_total_change is None else TotalChange(current, max_total_change)
        lower, upper = np.zeros(len(domains)), np.ones(len(domains))
        for one in stated:
            j = domains.names.index(one.subject)
            if one.at_least:
                lower[j] = max(lower[j], one.limit)
            else:
                upper[j] = min(upper[j], one.limit)
        nothing = np.zeros(len(domains))
        return cls(
            domains,
            lower,
            upper,
            bounded,
            change,
            (*stated, *stated_bounds(domains.names, nothing, nothing + 1, bounded, change)),
        )

    def contains(self, p: Float[np.ndarray, " k"], tolerance: float = 1e-7) -> bool:
        """Whether ``p`` satisfies every constraint within ``tolerance``."""
        return bool(self.inside(p[None], tolerance)[0])

    def inside(self, p: Float[np.ndarray, "m k"], tolerance: float = 1e-7) -> Bool[np.ndarray, " m"]:
        """:meth:`contains` of every row."""
        good = (p >= self.lower - tolerance).all(axis=1) & (p <= self.upper + tolerance).all(axis=1)
        good &= np.abs(p.sum(axis=1) - 1) <= tolerance
        if self.groups is not None:
            share = p @ self.groups.members.T.astype(float)
            good &= (share >= self.groups.lower - tolerance).all(axis=1)
            good &= (share <= self.groups.upper + tolerance).all(axis=1)
        if self.change is not None:
            good &= np.abs(p - self.change.current).sum(axis=1) / 2 <= self.change.at_most + tolerance
        return good

    def project(self, v: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
        """The point of the set nearest to ``v`` in Euclidean distance."""
        if not self.plain:
            return project_rows(self._rows, v[None], entropy=False)[0]
        span = np.array([float(np.abs(v).max()) + 2.0])
        return water_fill(lambda s: v[None] + s[:, None], -span, span, self.lower, self.upper)[0]

    def kl_project(self, q: Float[np.ndarray, "*batch k"]) -> Float[np.ndarray, "*batch k"]:
        """argmin KL(p || q) over the set, for ``q`` of any positive scale."""
        rows = q.reshape(-1, q.shape[-1])
        rows = np.maximum(rows, _FLOOR * rows.max(axis=1, keepdims=True))
        log_q = np.log(rows / rows.max(axis=1, keepdims=True))
        if not self.plain:
            return project_rows(self._rows, log_q, entropy=True).reshape(q.shape)
        span = 60.0 - log_q.min(axis=1)
        # A weight is at most 1, so nothing is lost where the exponent is clipped.
        filled = water_fill(lambda s: np.exp(np.minimum(log_q + s[:, None], 1.0)), -span, span, self.lower, self.upper)
        return filled.reshape(q.shape)

    @cached_property
    def _rows(self) -> Rows:
        b, d, equal = self.inequalities()
        b = np.vstack([np.ones(len(self.domains)), b])
        upper = self.upper.copy()
        if self.groups is not None:  # a closed group closes its members: the multiplier would grow without end
            for members, most in zip(self.groups.members, self.groups.upper, strict=True):
                upper[members] = np.minimum(upper[members], most)
        centre = np.zeros(len(self.domains)) if self.change is None else self.change.current
        at_most = np.inf if self.change is None else 2 * self.change.at_most
        return Rows(
            self.lower, np.maximum(upper, self.lower), b, np.append(1.0, d), np.append(True, equal), centre, at_most
        )

    def inequalities(self) -> tuple[Float[np.ndarray, "r k"], Float[np.ndarray, " r"], Bool[np.ndarray, " r"]]:
        """The bounds of the groups as rows B p <= d, and which of them are equalities."""
        b, d, equal = [np.zeros((0, len(self.domains)))], [], []
        if self.groups is not None:
            for members, low, high in zip(
                self.groups.members.astype(float), self.groups.lower, self.groups.upper, strict=True
            ):
                fixed = bool(high - low <= SLACK)
                if high < 1 or fixed:
                    b.append(members[None])
                    d.append(float(high))
                    equal.append(fixed)
                if low > 0 and not fixed:
                    b.append(-members[None])
                    d.append(-float(low))
                    equal.append(False)
        return np.vstack(b), np.array(d, dtype=float), np.array(equal, dtype=bool)

    def best_vertex(self, cost: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
        """argmin cost.p over the set: fill the cheapest domains up to their upper bound, or a linear program."""
        if not self.plain:
            return self._linear_program(cost)
        p = self.lower.copy()
        left = 1 - p.sum()
        for j in np.argsort(cost, kind="stable"):
            step = min(self.upper[j] - p[j], left)
            p[j] += step
            left -= step
        return p

    def _linear_program(self, cost: np.ndarray) -> np.ndarray:
        k = len(self.domains)
        b, d, equal = self.inequalities()
        rows, limits = lifting(k, self.change)
        width = rows.shape[1]
        b = np.hstack([b, np.zeros((len(b), width - k))])
        if self.change is not None:
            rows = np.vstack([rows, np.append(np.zeros(k), np.ones(k))])
            limits = np.append(limits, 2 * self.change.at_most)
        total = np.append(np.ones(k), np.zeros(width - k))
        result = linprog(
            np.append(cost, np.zeros(width - k)),
            np.vstack([b[~equal], rows]),
            np.append(d[~equal], limits),
            np.vstack([total, b[equal]]),
            np.append(1.0, d[equal]),
            [*zip(self.lower, self.upper, strict=True), *[(0.0, None)] * (width - k)],
            method="highs",
            options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
        )
        if result.x is None:
            raise Infeasible(f"no mixture satisfies all constraints within 1e-10: {result.message}")
        return np.clip(result.x[:k], self.lower, self.upper)

    def sample(
        self, count: int, alpha: Float[np.ndarray, " k"] | Float[np.ndarray, "count k"], rng: np.random.Generator
    ) -> Float[np.ndarray, "count k"]:
        """Dirichlet(alpha) draws; a draw outside of the set is moved inside by :meth:`kl_project`.

        One alpha for all draws, or one a row. Parameters below 1e-3 are raised to it: smaller ones underflow.
        """
        alpha = np.broadcast_to(np.maximum(alpha, 1e-3), (count, len(self.domains)))
        draws = rng.standard_gamma(alpha)
        draws = draws / np.maximum(draws.sum(axis=1, keepdims=True), np.finfo(float).tiny)
        stuck = ~np.isclose(draws.sum(axis=1), 1)  # every gamma of the row underflowed
        draws[stuck] = np.eye(len(self.domains))[np.argmax(alpha[stuck], axis=1)]
        outside = ~self.inside(draws, 1e-12)
        if outside.any():
            draws[outside] = self.kl_project(draws[outside])
        return draws
