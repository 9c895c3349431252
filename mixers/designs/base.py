"""The contract of a design."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from mixers.simplex import FeasibleSet
from mixers.types import Observations, Scale


@dataclass(frozen=True)
class Proposal:
    """One proxy run to buy: a mixture, a scale (unknown: the caller's), a seed and the reason."""

    p: Float[np.ndarray, " k"]
    scale: Scale
    seed: int
    why: str


class Design(ABC):
    """Proposes mixtures. Designs hold hyper-parameters only; what was measured so far comes in with the call."""

    name: ClassVar[str]
    summary: ClassVar[str]

    @abstractmethod
    def suggest(
        self,
        count: int,
        feasible: FeasibleSet,
        runs: Observations | None,
        budget: float | None,
        rng: np.random.Generator,
    ) -> list[Proposal]:
        """``count`` proposals inside ``feasible``, different from each other and from ``runs``.

        Args:
            runs: what was measured so far, or None.
            budget: FLOPs that may be spent, or None for no limit.
        """
