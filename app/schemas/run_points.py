"""Which points of a run's trajectory count as measurements of its mixture."""

from __future__ import annotations

from enum import StrEnum


class RunPoints(StrEnum):
    """What a fit takes of each run."""

    END = "end"  # its end alone
    ALL = "all"  # its end and every point that it measured on the way, each at its own number of tokens


def point_name(run: str, train_tokens: int) -> str:
    """How a fit names a point on the way; the end of a run has the id of the run."""
    return f"{run}@{train_tokens}"


def is_end(name: str) -> bool:
    """Whether a fit names the end of a run by this."""
    return "@" not in name


# Said of points on the way.
FALLING_RATES = (
    "are not those of shorter runs: their learning rate was falling to a later end; the schedules constant and, before "
    "its decay, wsd give points that are"
)
