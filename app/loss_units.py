"""In which unit losses stand, and what an objective is made of, in words.

A target has a unit of its own: bits per byte, nats per token, or whatever its study says. An objective is a weighted
mean of targets, so it has a unit only where all targets that count share one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

# A swarm may not say in which unit its losses are.
UNKNOWN = "unknown"


class Measure(Protocol):
    """A target: its unit, its direction, and its importance in the objective."""

    @property
    def unit(self) -> str: ...
    @property
    def direction(self) -> str: ...
    @property
    def weight(self) -> float: ...


def words(unit: str) -> str:
    """``bits_per_byte`` as people write it; empty where the unit is not known."""
    return "" if unit == UNKNOWN else unit.replace("_", " ")


def titled(name: str, unit: str) -> str:
    """The heading of a column of losses: ``MAE (bits per byte)``."""
    return f"{name} ({words(unit)})" if words(unit) else name


def shared_unit(units: Iterable[str]) -> str:
    """The one unit of the targets of an objective; empty where there are several, or none is known."""
    several = set(units)
    return several.pop() if len(several) == 1 else ""


def counted(targets: Iterable[Measure]) -> list[Measure]:
    """The targets that an objective is made of."""
    return [target for target in targets if target.weight > 0]


def objective_unit(targets: Iterable[Measure]) -> str:
    """The unit of the weighted mean of ``targets``; empty where they do not share one."""
    return shared_unit(target.unit for target in counted(targets))


def mean_words(units: Sequence[str], maximised: bool) -> str:
    """What a weighted mean is made of.

    Args:
        units: of the targets that count.
        maximised: whether one of them is to be maximised.
    """
    several = [words(unit) or "unit not given" for unit in dict.fromkeys(units)]
    own = " in their own, mixed units" if len(several) > 1 else ""
    negative = "; a target to be maximised counts negative" if maximised else ""
    return f"the weighted mean of the targets{own} ({', '.join(several)}{negative})"


def objective_words(targets: Iterable[Measure]) -> str:
    """What the objective of ``targets`` is made of."""
    those = counted(targets)
    return mean_words([target.unit for target in those], any(target.direction == "maximize" for target in those))
