"""Which domain every sequence comes from when weights change in ways that nobody knew beforehand.

Notation as in ``domain_schedule.py``: S_j asked, x_j given, the deficit S_j(n) - x_j(n - 1). From the first change on,
every sequence goes to the domain with the largest deficit: what was asked until now decides, never what will be.

No rule can keep within one sequence here: whoever changes the weights after every sequence can make any rule fall
behind by about log k (the emptier of the cup game, Adler et al. 2003, "A proportionate fair scheduling rule with good
worst-case performance"). For the largest deficit the m largest sum, after every sequence, to at most
m (1/(m+1) + ... + 1/k) more than they could before the first one, by induction: either the domain that got the sequence
is among them, and their sum grew by no more than the 1 that it lost; or its deficit was as large as theirs, and they
are no worse than the m + 1 largest were, which shared 1 more. With what ``DomainSchedule`` leaves behind:

    -1 < S_j(n) - x_j(n) < 1/2 + 1/3 + ... + 1/k + 0.31       for k domains that were ever asked for
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from proxy_training.domain_schedule import AskedCounts, DomainSchedule


class SteeredSchedule:
    """The ``known`` schedule for the sequences before ``first_steered``; those after it follow what is ``asked``."""

    def __init__(self, known: DomainSchedule, first_steered: int, asked: AskedCounts) -> None:
        self._known = known
        self._first_steered = first_steered
        self._asked = asked

    def assign(self, first: int, last: int, given: Int[np.ndarray, " k"]) -> Int[np.ndarray, " n"]:
        """The domains of the sequences ``first`` .. ``last - 1``, when each domain was ``given`` that many before."""
        turn = min(max(first, self._first_steered), last)
        known = self._known.assign(first, turn, given) if turn > first else np.empty(0, dtype=np.int64)
        given = given + np.bincount(known, minlength=len(given))
        chosen = np.empty(last - turn, dtype=np.int64)
        for place, asked in enumerate(self._asked.until(np.arange(turn, last) + 1.0)):
            chosen[place] = j = int((asked - given).argmax())
            given[j] += 1
        return np.concatenate([known, chosen])
