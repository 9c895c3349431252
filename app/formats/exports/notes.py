"""Three things that are often misunderstood about a trainer's weights, which every export states.

People take weights for epochs or for document shares, expect a source that runs out to stop or to be skipped, and
expect a resumed run to follow changed weights. Trainers differ in all three.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.formats.exports.base import Plan
from app.formats.exports.headers import common_notes


@dataclass(frozen=True)
class Habits:
    """How a trainer reads weights: the unit, what happens when a source runs out, what a resumed run follows."""

    unit: str
    exhaustion: str
    resume: str


def notes_of(plan: Plan, habits: Habits, *more: str) -> tuple[str, ...]:
    """The three habits, then what the format has to add, then what holds for every format."""
    return (
        f"Weight unit: {habits.unit}",
        f"When a source runs out: {habits.exhaustion}",
        f"Resuming with changed weights: {habits.resume}",
        *more,
        *common_notes(plan),
    )
