"""Stage boundaries in training steps, for trainers that count steps instead of tokens."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

from app.formats.exports.base import ExportError, Plan


@dataclass(frozen=True)
class StepBoundaries:
    """Where each stage ends.

    Attributes:
        ends: a step for every stage; the last one is the end of the run.
        notes: one for each boundary that had to move to a whole step.
    """

    ends: tuple[int, ...]
    notes: tuple[str, ...]


def step_boundaries(plan: Plan, batch_size: int, sequence_length: int, block_sequences: int = 1) -> StepBoundaries:
    """The steps nearest to the tokens at which the stages end.

    Args:
        batch_size: sequences of a step. sequence_length: tokens of a sequence.
        block_sequences: a boundary inside the run falls on a multiple of this many sequences.

    Raises:
        ExportError: sizes are not positive, or two boundaries fall on the same step.
    """
    if batch_size < 1 or sequence_length < 1:
        raise ExportError("the sizes of a step must be positive: sequences of a batch and tokens of a sequence")
    tokens_per_step = batch_size * sequence_length
    grid = block_sequences // gcd(block_sequences, batch_size)
    ends, notes = [], []
    for number, stage in enumerate(plan.stages, start=1):
        is_last = number == len(plan.stages)
        exact = stage.to_token / tokens_per_step
        end = round(exact) if is_last else round(exact / grid) * grid
        if end <= (ends[-1] if ends else 0):
            raise ExportError(
                f"stage {number} ends at {stage.to_token} tokens, which is step {exact:.6g}: stages start and end on "
                f"multiples of {grid} steps of {tokens_per_step} tokens, and none is left for it; use smaller steps"
            )
        if end * tokens_per_step != stage.to_token:
            moved = end * tokens_per_step - stage.to_token
            notes.append(
                f"Stage {number} ends {abs(moved)} tokens {'later' if moved > 0 else 'earlier'}, at step {end}."
            )
        ends.append(end)
    return StepBoundaries(tuple(ends), tuple(notes))
