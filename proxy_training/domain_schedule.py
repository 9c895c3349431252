"""Which domain every sequence of a run comes from: realised weights never a whole sequence off the asked ones.

Notation: S_j(n) = asked sequences of domain j among the first n, the integral of the stages' weights; x_j(n) = those
that were given. The deficit is S_j(n) - x_j(n - 1). Giving to the largest deficit is not quite enough: with weights
such as (.42, .40, .12, .05, ...) it falls more than one sequence behind. Tijdeman 1980 ("The chairman assignment
problem", Discrete Mathematics 32) gives, with d = 1 / (2k - 2):

    among the domains whose deficit is at least d, to the one whose deficit would be the first to reach 1 - d

and proves |S_j(n) - x_j(n)| <= 1 - d for all j and n, for weights that change in any way known beforehand. Nothing
is drawn at random: two runs with nearly equal weights get nearly equal schedules.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from proxy_training.spec import Stage

# Times are sums and quotients of floats: one that is later than a whole number by rounding belongs to that number.
_ROUNDING = 1e-9


class AskedCounts:
    """S: what ``stages``, given in tokens, ask of each of k ``domains``, in sequences of ``context`` tokens.

    A stage boundary may fall anywhere: the sequence that it falls in counts for each stage by its tokens. What is asked
    until some point does not depend on the stages after it, not even by rounding.
    """

    def __init__(self, stages: Sequence[Stage], domains: Sequence[str], context: int) -> None:
        weights = np.array([[stage.weights.get(name, 0.0) for name in domains] for stage in stages])
        self._weights = weights / weights.sum(axis=1, keepdims=True)
        self.changes_at = np.array([0, *(stage.to_token for stage in stages)]) / context  # (stages + 1,)
        asked = np.cumsum(self._weights * np.diff(self.changes_at)[:, None], axis=0)
        self.at_changes = np.vstack([np.zeros(len(domains)), asked])  # (stages + 1, k)

    def until(self, sequences: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n k"]:
        """How many of the first ``sequences`` are asked of each domain."""
        stage = np.searchsorted(self.changes_at[1:-1], sequences, side="right")
        return self.at_changes[stage] + self._weights[stage] * (sequences - self.changes_at[stage])[:, None]


class DomainSchedule:
    """The schedule of what is ``asked`` by stages that are all known beforehand."""

    def __init__(self, asked: AskedCounts) -> None:
        self._counts = asked
        used = int((asked.at_changes[-1] > 0).sum())
        self._margin = 1 / (2 * used - 2) if used > 1 else 0.5

    def assign(self, first: int, last: int, given: Int[np.ndarray, " k"]) -> Int[np.ndarray, " n"]:
        """The domains of the sequences ``first`` .. ``last - 1``, when each domain was ``given`` that many before."""
        # The next sequence of a domain can be given from its release on; the one with the first deadline is.
        more = np.ceil(self._counts.until(np.array([float(last)]))[0] - given).astype(np.int64) + 1
        times = [self._times(j, int(given[j]), max(0, int(more[j]))) for j in range(len(given))]
        waiting = [(release[0], j, 0) for j, (release, _) in enumerate(times) if release]
        heapq.heapify(waiting)
        ready: list[tuple[float, int, int]] = []
        chosen = np.empty(last - first, dtype=np.int64)
        for place in range(last - first):
            # Without rounding, one is always ready (Tijdeman's theorem); with it, the next release may be a hair late.
            while waiting and (waiting[0][0] <= first + place + 1 or not ready):
                _, j, nth = heapq.heappop(waiting)
                heapq.heappush(ready, (times[j][1][nth], j, nth))
            _, j, nth = heapq.heappop(ready)
            chosen[place] = j
            if nth + 1 < len(times[j][0]):
                heapq.heappush(waiting, (times[j][0][nth + 1], j, nth + 1))
        return chosen

    def _times(self, j: int, given: int, more: int) -> tuple[list[int], list[float]]:
        """Releases (whole sequences) and deadlines of the next ``more`` sequences of domain j."""
        due = given + np.arange(more)
        releases = np.ceil(self._reached(j, due + self._margin) - _ROUNDING)
        possible = np.isfinite(releases)
        deadlines = self._reached(j, due + 1 - self._margin)
        return releases[possible].astype(np.int64).tolist(), deadlines[possible].tolist()

    def _reached(self, j: int, levels: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
        """The first time at which S_j is as large as each level; infinity when it never is."""
        asked, at = self._counts.at_changes[:, j], self._counts.changes_at
        segment = np.searchsorted(asked, levels, side="left")
        inside = np.clip(segment, 1, len(asked) - 1)
        rise = asked[inside] - asked[inside - 1]
        run = at[inside] - at[inside - 1]
        with np.errstate(all="ignore"):  # flat or nearly flat segments; a time beyond all numbers is "never"
            time = at[inside - 1] + (levels - asked[inside - 1]) / rise * run
        return np.where(segment < len(asked), time, np.inf)
