"""The notes of an export: three things that are often misunderstood about a trainer's weights, and what was adjusted.

People take weights for epochs or for document shares, expect a source that runs out to stop or to be skipped, and
expect a resumed run to follow changed weights. Trainers differ in all three, so each format answers all three.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.formats.exports.base import Plan
from app.formats.exports.header import quoted


@dataclass(frozen=True)
class Habits:
    """How a trainer reads weights: the unit, what happens when a source runs out, what a resumed run follows."""

    unit: str
    exhaustion: str
    resume: str


def notes_of(plan: Plan, habits: Habits, *more: str) -> tuple[str, ...]:
    """The three habits, then what the format has to add, then what was left out and which epochs are implied."""
    return (
        f"Weight unit: {habits.unit}",
        f"When a source runs out: {habits.exhaustion}",
        f"Resuming with changed weights: {habits.resume}",
        *more,
        *_dropped(plan),
        _epochs(plan),
    )


def _dropped(plan: Plan) -> tuple[str, ...]:
    if not plan.dropped:
        return ()
    names = ", ".join(quoted(name) for name in plan.dropped)
    return (f"Left out because their weight is 0, at least in one stage: {names}.",)


def _epochs(plan: Plan) -> str:
    """Rounded for reading; the file has the exact figures."""
    told = ", ".join(
        f"{quoted(name)} {'unknown' if epochs is None else format(epochs, '.4g')}"
        for name, epochs in plan.epochs().items()
    )
    return f"Epochs that the whole plan implies: {told}."
