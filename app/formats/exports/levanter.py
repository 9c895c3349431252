"""Levanter and Marin: the ``train_weights`` of a data configuration, static or a list of stages by training step.

A mixture is dealt out in blocks: of ``mixture_block_size`` sequences a domain gets ``floor(weight * size)``, the
largest one the rest. A weight below one sequence a block gets nothing. A stage must start on a whole block.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from app.formats.exports.base import Export, ExportedFile, ExportError, ExportFormat, Option, Plan
from app.formats.exports.header import commented, header_lines, quoted
from app.formats.exports.notes import Habits, notes_of
from app.formats.exports.option_values import whole_number
from app.formats.exports.repetition import MAX_EPOCHS, above_cap
from app.formats.exports.shares import token_shares
from app.formats.exports.steps import step_boundaries
from app.formats.exports.yaml_text import to_yaml

DEFAULT_BLOCK = 2048
# Levanter packs the place in a block into 16 bits. Powers of two fit the usual batch sizes.
LARGEST_BLOCK = 2**15
# What a domain may lose, as a part of its share, before a note names it.
TOLD_LOSS = 0.01

HABITS = Habits(
    unit="relative shares of sequences of fixed length, so shares of tokens, dealt out block by block.",
    exhaustion="the domain starts again (stop_strategy: restart), without a cap.",
    resume="give train_weights as a list of stages and extend it; stages that were trained must stay as they are.",
)


class LevanterWeights(ExportFormat):
    """``train_weights.yaml``. The names must be those of the data sets in the ``data`` section; paths stand there."""

    name: ClassVar[str] = "levanter"
    title: ClassVar[str] = "Levanter and Marin: train_weights YAML, staged by training step"
    trainer: ClassVar[str] = ""
    options: ClassVar[Mapping[str, Option]] = {
        "max_epochs": MAX_EPOCHS,
        "mixture_block_size": Option(DEFAULT_BLOCK, "sequences of a block; raised where a weight needs it"),
        "batch_size": Option(0, "sequences of a training step; needed for several stages"),
        "sequence_length": Option(0, "tokens of a sequence; needed for several stages"),
    }

    def render(self, plan: Plan) -> Export:
        stages = [token_shares(stage) for stage in plan.stages]
        block = _block_size(whole_number(plan, self.options, "mixture_block_size"), stages)
        kept, lost = _without_lost(stages, block)
        steps, moved = self._start_steps(plan, block)
        notes = notes_of(plan, HABITS, *lost, *_rounded(kept, block), *moved, *above_cap(plan))
        weights: Any = kept[0] if len(kept) == 1 else [list(pair) for pair in zip(steps, kept, strict=True)]
        data = {"train_weights": weights, "mixture_block_size": block, "stop_strategy": "restart"}
        text = commented(header_lines(plan, notes)) + to_yaml({"data": data})
        return Export((ExportedFile("train_weights.yaml", text),), notes)

    def _start_steps(self, plan: Plan, block: int) -> tuple[list[int], tuple[str, ...]]:
        if len(plan.stages) == 1:
            return [0], ()
        sizes = [whole_number(plan, self.options, name) for name in ("batch_size", "sequence_length")]
        if 0 in sizes:
            raise ExportError(
                f"the recommendation has {len(plan.stages)} stages, which Levanter starts at training steps: "
                "give the options batch_size (sequences of a step) and sequence_length (tokens)"
            )
        if plan.stages[0].from_token != 0:
            raise ExportError("the first stage does not start at token 0, and Levanter's first stage starts at step 0")
        boundaries = step_boundaries(plan, *sizes, block_sequences=block)
        return [0, *boundaries.ends[:-1]], boundaries.notes


def _block_size(asked: int, stages: list[dict[str, float]]) -> int:
    """The size that was asked for, doubled until every weight gets a sequence or the largest block is reached.

    Raises:
        ExportError: Levanter takes no block of the size that was asked for.
    """
    if not 1 <= asked < 2**16:
        raise ExportError(f"option 'mixture_block_size' is {asked}; it must be from 1 to {2**16 - 1}")
    smallest = min(weight for weights in stages for weight in weights.values())
    block = asked
    while smallest * block < 1 and block * 2 <= LARGEST_BLOCK:
        block *= 2
    return block


def _without_lost(stages: list[dict[str, float]], block: int) -> tuple[list[dict[str, float]], tuple[str, ...]]:
    """Weights that get at least a sequence of each block, and a note on the others."""
    kept, lost = [], dict[str, float]()
    for weights in stages:
        lost |= {name: weight for name, weight in weights.items() if weight * block < 1}
        rest = {name: weight for name, weight in weights.items() if weight * block >= 1}
        total = sum(rest.values())
        kept.append(rest if len(rest) == len(weights) else {name: weight / total for name, weight in rest.items()})
    if not lost:
        return kept, ()
    told = ", ".join(f"{quoted(name)} {weight!r}" for name, weight in lost.items())
    return kept, (f"Left out because their weight is less than one sequence of a block of {block}: {told}.",)


def _rounded(stages: list[dict[str, float]], block: int) -> tuple[str, ...]:
    """Names the domains that lose more than a hundredth of their share to whole sequences."""
    short = dict[str, float]()
    for weights in stages:
        largest = max(weights, key=lambda name: weights[name])
        dealt = {name: int(weight * block) / block for name, weight in weights.items() if name != largest}
        short |= {name: got for name, got in dealt.items() if got < weights[name] * (1 - TOLD_LOSS)}
    if not short:
        return ()
    told = ", ".join(f"{quoted(name)} {got!r}" for name, got in short.items())
    return (f"Whole sequences of a block of {block} make these shares smaller by more than 1 %: {told}.",)
