"""Growing pauses between tries, with jitter, so that a hundred agents do not come back at the same moment."""

from __future__ import annotations

import random


class Backoff:
    """Pauses that double from ``first_seconds`` to ``longest_seconds``, each shortened by up to a half at random."""

    def __init__(self, first_seconds: float, longest_seconds: float, rng: random.Random) -> None:
        self._first_seconds = first_seconds
        self._longest_seconds = longest_seconds
        self._rng = rng
        self._next_seconds = first_seconds

    def reset(self) -> None:
        """What was waited for has come."""
        self._next_seconds = self._first_seconds

    def pause_seconds(self) -> float:
        """How long to wait before the next try."""
        pause = self._next_seconds * self._rng.uniform(0.5, 1.0)
        self._next_seconds = min(2 * self._next_seconds, self._longest_seconds)
        return pause
