"""A space-filling swarm (Aioli's sweeps, arXiv 2411.05735): draw too many points, merge the closest pairs.

Oversample Dirichlet(1.5) points and replace the closest pair by its midpoint until ``count`` remain. Suited to few
domains, where the interior matters; with many domains the points gather near the centre.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.spatial.distance import pdist, squareform

from mixers.designs.base import Design, Proposal
from mixers.errors import InvalidInput
from mixers.simplex import FeasibleSet
from mixers.types import Observations, Scale

# It holds the distances of all pairs of five times as many points.
MOST = 1000


@dataclass(frozen=True)
class SimplexCover(Design):
    """Points that cover the feasible set evenly."""

    name: ClassVar[str] = "simplex_cover"
    summary: ClassVar[str] = "points that cover the feasible set evenly; for few domains"
    concentration: float = 1.5
    oversample: int = 8

    def suggest(
        self,
        count: int,
        feasible: FeasibleSet,
        runs: Observations | None,
        budget: float | None,
        rng: np.random.Generator,
    ) -> list[Proposal]:
        del budget  # see Dirichlet
        if count > MOST:
            raise InvalidInput(f"simplex_cover makes at most {MOST} mixtures, not {count}; dirichlet makes any number")
        alpha = np.full(len(feasible.domains), self.concentration)
        points = feasible.sample(min(count * self.oversample, 4000 + count), alpha, rng)
        if runs is not None and len(runs):
            points = _far_from(points, runs.p, keep=max(count, len(points) // 2))
        points = _merge_closest(points, count)
        return [Proposal(p, Scale.unknown(), 0, "covers the feasible set evenly") for p in points]


def _far_from(points: np.ndarray, known: np.ndarray, keep: int) -> np.ndarray:
    """The ``keep`` points farthest from all known mixtures."""
    nearest = np.min(np.linalg.norm(points[:, None] - known[None], axis=2), axis=1)
    return points[np.argsort(-nearest, kind="stable")[:keep]]


def _merge_closest(points: np.ndarray, count: int) -> np.ndarray:
    """Replace the closest pair by its midpoint until ``count`` points remain; a convex set keeps its midpoints.

    Each point remembers its nearest one, so that a merger looks at the few rows that it concerns and not at all pairs.
    """
    points = points.copy()
    distance = squareform(pdist(points))
    np.fill_diagonal(distance, np.inf)
    there = np.ones(len(points), dtype=bool)
    nearest = distance.argmin(axis=1)
    least = distance[np.arange(len(points)), nearest]
    for _ in range(len(points) - count):
        i = int(least.argmin())
        j = int(nearest[i])
        points[i] = (points[i] + points[j]) / 2
        there[j] = False
        row = np.linalg.norm(points - points[i], axis=1)
        row[~there] = row[i] = np.inf
        distance[j, :] = distance[:, j] = np.inf
        distance[i, :] = distance[:, i] = row
        least[j] = np.inf
        closer = row < least
        nearest[closer], least[closer] = i, row[closer]
        lost = np.flatnonzero(there & ((nearest == i) | (nearest == j)) & ~closer)
        for k in {i, *lost.tolist()}:
            nearest[k] = distance[k].argmin()
            least[k] = distance[k, nearest[k]]
    return points[there]
