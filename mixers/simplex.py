"""The set of mixtures that may be recommended: the simplex cut by a lower and an upper bound a domain.

    F = {p : sum_j p_j = 1,  lower_j <= p_j <= upper_j}

An epoch cap is an upper bound: a run of R tokens that may see a domain of N_j unique tokens at most e times has
p_j <= e N_j / R (Olmix, arXiv 2602.12237, section 4).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mixers.errors import Infeasible, InvalidInput
from mixers.types import Domains

# Sums of bounds this close to 1 are taken as equal to 1: bounds reach us as decimal text.
_SLACK = 1e-9
# Keeps the KL projection defined where the reference has no mass but a bound asks for some.
_FLOOR = 1e-12


@dataclass(frozen=True)
class FeasibleSet:
    """Bounds on the weights of a domain set, checked to leave at least one mixture.

    Args:
        domains: gives the order of the k-axis.
        lower, upper: shape (k,), 0 <= lower <= upper <= 1.
    """

    domains: Domains
    lower: Float[np.ndarray, " k"]
    upper: Float[np.ndarray, " k"]

    def __post_init__(self) -> None:
        names = self.domains.names
        lower, upper = np.array(self.lower, float), np.array(self.upper, float)
        if lower.shape != (len(names),) or upper.shape != (len(names),):
            raise InvalidInput(f"bounds of shapes {lower.shape} and {upper.shape} do not fit {len(names)} domains")
        for j, name in enumerate(names):
            if not 0 <= lower[j] <= 1 or not 0 <= upper[j] <= 1:
                raise InvalidInput(f"bounds of {name!r} are {lower[j]:g} and {upper[j]:g}; they must lie in 0 .. 1")
            if lower[j] > upper[j] + _SLACK:
                raise Infeasible(
                    f"domain {name!r} must have at least {lower[j]:.6g} and at most {upper[j]:.6g}, "
                    f"{lower[j] - upper[j]:.3g} apart"
                )
        if lower.sum() > 1 + _SLACK:
            raise Infeasible(f"the lower bounds sum to {lower.sum():.6g}, {lower.sum() - 1:.3g} more than 1")
        if upper.sum() < 1 - _SLACK:
            raise Infeasible(f"the upper bounds sum to {upper.sum():.6g}, {1 - upper.sum():.3g} less than 1")
        for label, values in (("lower", lower), ("upper", np.maximum(lower, upper))):
            values.setflags(write=False)
            object.__setattr__(self, label, values)

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
        min_weights: Mapping[str, float] | None = None,
        max_weights: Mapping[str, float] | None = None,
    ) -> FeasibleSet:
        """Bounds from named weights and from an epoch cap (which needs both ``target_tokens`` and ``max_epochs``).

        Raises:
            InvalidInput: an unknown domain, or half an epoch cap.
            Infeasible: naming the constraint that cannot hold.
        """
        lower, upper = np.zeros(len(domains)), np.ones(len(domains))
        for bound, named in ((lower, min_weights or {}), (upper, max_weights or {})):
            for name, value in named.items():
                if name not in domains.names:
                    raise InvalidInput(f"a bound names domain {name!r}; known are {', '.join(domains.names)}")
                bound[domains.names.index(name)] = value
        if (target_tokens is None) != (max_epochs is None):
            raise InvalidInput("an epoch cap needs both target_tokens and max_epochs")
        if target_tokens is not None and max_epochs is not None:
            upper = np.minimum(upper, epoch_caps(domains, target_tokens, max_epochs))
            supply = max_epochs * domains.available_tokens.sum()
            if supply < target_tokens * (1 - _SLACK):
                raise Infeasible(
                    f"{max_epochs:g} epochs of all domains give {supply:.4g} tokens, {target_tokens - supply:.4g} "
                    f"fewer than the {target_tokens:.4g} of the run; allow {target_tokens / supply * max_epochs:.3g} "
                    "epochs or fewer tokens"
                )
        return cls(domains, lower, upper)

    def contains(self, p: Float[np.ndarray, " k"], tolerance: float = 1e-7) -> bool:
        """Whether ``p`` satisfies every constraint within ``tolerance``."""
        inside = (p >= self.lower - tolerance).all() and (p <= self.upper + tolerance).all()
        return bool(inside and abs(p.sum() - 1) <= tolerance)

    def project(self, v: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
        """The point of the set nearest to ``v`` in Euclidean distance: clip(v + s) with sum 1."""
        span = np.array([float(np.abs(v).max()) + 2.0])
        return self._with_sum_one(lambda s: v[None] + s[:, None], -span, span)[0]

    def kl_project(self, q: Float[np.ndarray, "*batch k"]) -> Float[np.ndarray, "*batch k"]:
        """argmin KL(p || q) over the set, for ``q`` of any positive scale: water-filling clip(s q) with sum 1."""
        rows = q.reshape(-1, q.shape[-1])
        rows = np.maximum(rows, _FLOOR * rows.max(axis=1, keepdims=True))
        log_q = np.log(rows / rows.max(axis=1, keepdims=True))
        span = 60.0 - log_q.min(axis=1)
        filled = self._with_sum_one(lambda s: np.exp(np.minimum(log_q + s[:, None], 1.0)), -span, span)
        return filled.reshape(q.shape)

    def _with_sum_one(
        self, curve: Callable[[np.ndarray], np.ndarray], low: np.ndarray, high: np.ndarray
    ) -> Float[np.ndarray, "m k"]:
        """clip(curve(s)) for the s (m,) where each row sums to 1; ``curve`` grows in every entry with s."""
        for _ in range(200):
            middle = (low + high) / 2
            if ((middle == low) | (middle == high)).all():
                break
            short = np.clip(curve(middle), self.lower, self.upper).sum(axis=1) < 1
            low, high = np.where(short, middle, low), np.where(short, high, middle)
        p = np.clip(curve(high), self.lower, self.upper)
        # What rounding left is spread over the entries that have room, in proportion to their room.
        rest = 1 - p.sum(axis=1, keepdims=True)
        room = np.where(rest > 0, self.upper - p, p - self.lower)
        return np.clip(p + rest * room / np.maximum(room.sum(axis=1, keepdims=True), _FLOOR), self.lower, self.upper)

    def best_vertex(self, cost: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
        """argmin cost.p over the set: fill the cheapest domains up to their upper bound."""
        p = self.lower.copy()
        left = 1 - p.sum()
        for j in np.argsort(cost, kind="stable"):
            step = min(self.upper[j] - p[j], left)
            p[j] += step
            left -= step
        return p

    def sample(
        self, count: int, alpha: Float[np.ndarray, " k"] | Float[np.ndarray, "count k"], rng: np.random.Generator
    ) -> Float[np.ndarray, "count k"]:
        """Dirichlet(alpha) draws; a draw outside of the bounds is moved inside by :meth:`kl_project`.

        One alpha for all draws, or one a row. Parameters below 1e-3 are raised to it: smaller ones underflow.
        """
        alpha = np.broadcast_to(np.maximum(alpha, 1e-3), (count, len(self.domains)))
        draws = rng.standard_gamma(alpha)
        draws = draws / np.maximum(draws.sum(axis=1, keepdims=True), np.finfo(float).tiny)
        stuck = ~np.isclose(draws.sum(axis=1), 1)  # every gamma of the row underflowed
        draws[stuck] = np.eye(len(self.domains))[np.argmax(alpha[stuck], axis=1)]
        outside = ((draws < self.lower) | (draws > self.upper)).any(axis=1)
        draws[outside] = self.kl_project(draws[outside])
        return draws


def epoch_caps(domains: Domains, target_tokens: float, max_epochs: float) -> Float[np.ndarray, " k"]:
    """The largest weight of each domain that repeats it at most ``max_epochs`` times; 1 where its size is unknown."""
    if not (target_tokens > 0 and np.isfinite(target_tokens)):
        raise InvalidInput(f"target_tokens is {target_tokens}; it must be a positive number")
    if not (max_epochs > 0 and np.isfinite(max_epochs)):
        raise InvalidInput(f"max_epochs is {max_epochs}; it must be a positive number")
    return np.minimum(1.0, max_epochs * domains.available_tokens / target_tokens)


def epochs(p: Float[np.ndarray, " k"], domains: Domains, target_tokens: float | None) -> Float[np.ndarray, " k"]:
    """How often each domain is seen: p_j R / N_j; NaN where the tokens of the run or of the domain are not known."""
    if target_tokens is None:
        return np.full(len(domains), np.nan)
    known = np.isfinite(domains.available_tokens)
    supply = np.where(known, np.maximum(domains.available_tokens, np.finfo(float).tiny), 1.0)
    return np.where(known, p * target_tokens / supply, np.nan)
