"""The contract of a mixing law: hyper-parameters in one frozen record, what was learned in another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from mixers.errors import InvalidInput, TooFewRuns
from mixers.laws.json_record import JsonRecord, Loader
from mixers.types import Observations, Prediction, Scale


@dataclass(frozen=True)
class Needs:
    """What a law must be given.

    Args:
        min_runs: the fewest measured runs, as a function of the number of domains k.
        why: completes the sentence "it needs that many runs because ...".
        min_scales: the fewest different (N, D) among the runs.
    """

    min_runs: Callable[[int], int]
    why: str
    min_scales: int = 1


class Form(IntEnum):
    """How the predicted means depend on the weights; of a law of several parts, the least form of its parts."""

    STEPS = 0  # no gradient: searched over candidates
    SMOOTH = 1  # value_and_gradient; local minima are possible
    CONVEX = 2  # value_and_gradient, and every target is convex in the weights


_IN_HEAD = ("domain_names", "target_names")


class FittedLaw(JsonRecord, ABC):
    """Learned parameters only. Knows its domains and targets by name and order."""

    law: ClassVar[str]  # the registry name of the law that it came from
    domain_names: tuple[str, ...]
    target_names: tuple[str, ...]

    @property
    def form(self) -> Form:
        """Decides how the law is minimised."""
        return Form.STEPS

    @abstractmethod
    def predict(self, p: Float[np.ndarray, "*batch k"], scale: Scale) -> Prediction:
        """Predicted losses at weights ``p`` and ``scale`` (which broadcasts against ``*batch``)."""

    def value_and_gradient(
        self, p: Float[np.ndarray, " k"], scale: Scale
    ) -> tuple[Float[np.ndarray, " t"], Float[np.ndarray, "t k"]]:
        """Predicted means and their derivatives with respect to the weights, taken as k free numbers.

        Only of laws whose form is smooth or convex.
        """
        raise InvalidInput(f"{self.law} has no gradient to give at weights of shape {p.shape} and {scale}")

    def to_dict(self) -> dict[str, Any]:
        """JSON values that :meth:`from_dict` turns into a law with the same predictions."""
        told = super().to_dict()
        return self.head() | {name: value for name, value in told.items() if name not in _IN_HEAD}

    def head(self) -> dict[str, Any]:
        """What a fitted law of any kind tells of itself."""
        return {"kind": self.law, "domains": list(self.domain_names), "targets": list(self.target_names)}

    @classmethod
    def from_dict(cls, data: dict[str, Any], load: Loader | None = None) -> FittedLaw:
        """The inverse of :meth:`to_dict`; a law of several parts takes the function that reads these."""
        return super().from_dict(data | {"domain_names": data["domains"], "target_names": data["targets"]}, load)


class MixingLaw(ABC):
    """A function of weights and scale to be fitted to runs. Each target is fitted by itself."""

    name: ClassVar[str]
    summary: ClassVar[str]  # one line for tables and help texts
    needs: ClassVar[Needs]
    knows_params: ClassVar[bool] = False  # N is an input; else it is fitted within equal N, see per_scale.py
    knows_tokens: ClassVar[bool] = False  # D is an input; else it is fitted within equal D
    has_gradient: ClassVar[bool] = True  # what it fits has a form better than Form.STEPS
    combined: ClassVar[bool] = True  # worth its price as a member of laws that are made of others
    robust: ClassVar[int] = 0  # above 0: a handful of runs cannot mislead it by much; of several the highest first

    @abstractmethod
    def fit(self, runs: Observations, rng: np.random.Generator) -> FittedLaw:
        """Fit every target on the runs where it was measured.

        Raises:
            TooFewRuns: saying how many it has and how many it needs.
        """

    def check_enough(self, runs: Observations) -> None:
        """Refuse fewer measured runs of any target, or fewer scales, than the law can use."""
        need = self.needs.min_runs(len(runs.domains))
        measured = runs.runs_measured
        short = int(np.argmin(measured))
        if measured[short] < need:
            raise TooFewRuns(
                f"{self.name} needs at least {need} measured runs for {len(runs.domains)} domains because "
                f"{self.needs.why}; target {runs.targets.names[short]!r} has {measured[short]}"
            )
        scales = len(set(runs.scale_groups.tolist()))
        if scales < self.needs.min_scales:
            raise TooFewRuns(
                f"{self.name} needs runs at {self.needs.min_scales} or more different scales (model_params, "
                f"train_tokens) because {self.needs.why}; these have {scales}"
            )
