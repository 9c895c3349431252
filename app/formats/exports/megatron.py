"""Megatron-LM and Megatron-Bridge: a blend per split as JSON, and for stages one blend a phase.

The trainer reads ``--per-split-data-args-path FILE``: an object whose keys ``train``, ``valid`` and ``test`` must all
be there, each a flat list of weight and prefix in turn, or null. Weights are strings. Further keys are not read.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import ClassVar

from app.formats.exports.base import (
    Export,
    ExportedFile,
    ExportError,
    ExportFormat,
    Option,
    Plan,
    PlanStage,
    require_paths,
)
from app.formats.exports.header import commented, header_lines, quoted
from app.formats.exports.json_text import SIBLING_KEY, described, to_json
from app.formats.exports.notes import Habits, notes_of
from app.formats.exports.option_values import stage_file, text, whole_number
from app.formats.exports.repetition import MAX_EPOCHS, above_cap
from app.formats.exports.shares import token_shares
from app.formats.exports.sources import sources_of, split_note
from app.formats.exports.steps import StepBoundaries, step_boundaries

# The blended data set keeps the number of a data set in 16 bits.
MOST_PREFIXES = 32767

HABITS = Habits(
    unit="relative shares of samples; a sample is a sequence of fixed length, so they are shares of tokens.",
    exhaustion="the domain is passed over again, without a cap and without a warning.",
    resume="works only at a phase transition with a fixed global batch size; elsewhere the order of all data changes.",
)


class MegatronBlend(ExportFormat):
    """``blend.json``; for stages ``blend.stage-<n>.json`` and ``phases.sh`` with the flag that stops between them."""

    name: ClassVar[str] = "megatron"
    title: ClassVar[str] = "Megatron-LM and Megatron-Bridge: per-split blend JSON, with phase transitions"
    trainer: ClassVar[str] = "megatron"
    options: ClassVar[Mapping[str, Option]] = {
        "max_epochs": MAX_EPOCHS,
        "valid": Option("", "prefix of the validation set; empty: null in the blend"),
        "test": Option("", "prefix of the test set; empty: null in the blend"),
        "global_batch_size": Option(0, "sequences of an iteration; needed for several stages"),
        "sequence_length": Option(0, "tokens of a sequence; needed for several stages"),
    }

    def render(self, plan: Plan) -> Export:
        require_paths(plan, self.trainer)
        boundaries = self._boundaries(plan)
        held_out = {split: self._held_out(plan, split) for split in ("valid", "test")}
        notes = notes_of(
            plan,
            HABITS,
            *_missing_splits(held_out),
            *split_note(plan, _prefix),
            *above_cap(plan),
            *(boundaries.notes if boundaries else ()),
        )
        names = [stage_file(plan, number, "blend", ".json") for number in range(1, len(plan.stages) + 1)]
        files = [
            ExportedFile(name, to_json({"train": _train(plan, stage), **held_out, SIBLING_KEY: described(plan, notes)}))
            for name, stage in zip(names, plan.stages, strict=True)
        ]
        if boundaries:
            files.append(ExportedFile("phases.sh", commented(header_lines(plan, notes)) + _phases(names, boundaries)))
        return Export(tuple(files), notes)

    def _held_out(self, plan: Plan, split: str) -> list[str] | None:
        path = text(plan, self.options, split)
        return ["1.0", _prefix(path)] if path else None

    def _boundaries(self, plan: Plan) -> StepBoundaries | None:
        if len(plan.stages) == 1:
            return None
        sizes = [whole_number(plan, self.options, name) for name in ("global_batch_size", "sequence_length")]
        if 0 in sizes:
            raise ExportError(
                f"the recommendation has {len(plan.stages)} stages, which Megatron separates by iterations: "
                "give the options global_batch_size (sequences of an iteration) and sequence_length (tokens)"
            )
        return step_boundaries(plan, *sizes)


def _train(plan: Plan, stage: PlanStage) -> list[str]:
    sources = sources_of(plan, token_shares(stage), _prefix)
    if len(sources) >= MOST_PREFIXES:
        raise ExportError(f"the blend would have {len(sources)} prefixes; Megatron takes fewer than {MOST_PREFIXES}")
    return [part for source in sources for part in (repr(source.weight), source.path)]


def _prefix(path: str) -> str:
    """The path without the endings of its two files.

    Raises:
        ExportError: it has spaces around it, which Megatron strips, so that it would look for another file.
    """
    prefix = path.removesuffix(".bin").removesuffix(".idx")
    if not prefix or prefix != prefix.strip():
        raise ExportError(f"{quoted(path)} is no prefix of a Megatron data set: it is empty or has spaces at an end")
    return prefix


def _missing_splits(held_out: Mapping[str, list[str] | None]) -> tuple[str, ...]:
    missing = [split for split, blend in held_out.items() if blend is None]
    if not missing:
        return ()
    return (f"The blend has no data for {' and '.join(missing)}: run with --eval-iters 0, or give these options.",)


def _phases(names: list[str], boundaries: StepBoundaries) -> str:
    """A file for the launching script to source."""
    inner = ",".join(str(end) for end in boundaries.ends[:-1])
    blends = " ".join(shlex.quote(name) for name in names)
    return (
        "# The run saves and exits at these iterations; start it again with the same flags and the next blend:\n"
        '# "${PHASE_ARGS[@]}" --per-split-data-args-path "${PHASE_BLENDS[n]}", n from 0.\n'
        f"PHASE_ARGS=(--phase-transition-iterations {inner} --train-iters {boundaries.ends[-1]})\n"
        f"PHASE_BLENDS=({blends})\n"
    )
