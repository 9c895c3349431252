"""MaxText: the JSON of ``grain_train_mixture_config_path``, ``{name: {"path": ..., "weight": ...}}``, one a stage.

Grain mixes records before they are cut and packed, so weights are shares of documents. Every key is a data set: what a
header says elsewhere stands in a second file. (The flag ``grain_train_files`` rounds weights to four decimals.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

from app.formats.exports.base import Export, ExportedFile, ExportFormat, Option, Plan, require_paths
from app.formats.exports.json_text import beside, to_json
from app.formats.exports.notes import Habits, notes_of
from app.formats.exports.option_values import stage_file
from app.formats.exports.repetition import MAX_EPOCHS, above_cap
from app.formats.exports.shares import document_shares
from app.formats.exports.sources import sources_of, split_note

HABITS = Habits(
    unit="relative shares of records (documents), which Grain turns into whole numbers: each is off by at most 1 % of "
    "the smallest one.",
    exhaustion="training data ends with the first domain that has been passed over num_epoch times.",
    resume="start again from the checkpoint with the next file; data sets of the same name go on where they were, and "
    "new ones may be added.",
)


class MaxTextMixture(ExportFormat):
    """``grain_mixture.json`` and what it says about itself, for each stage."""

    name: ClassVar[str] = "maxtext"
    title: ClassVar[str] = "MaxText: Grain mixture JSON"
    trainer: ClassVar[str] = "maxtext"
    options: ClassVar[Mapping[str, Option]] = {"max_epochs": MAX_EPOCHS}

    def render(self, plan: Plan) -> Export:
        require_paths(plan, self.trainer)
        shares = document_shares(plan)
        notes = notes_of(plan, HABITS, shares.note, *_passes_needed(plan), *split_note(plan), *above_cap(plan))
        files = []
        for number, weights in enumerate(shares.by_stage, start=1):
            name = stage_file(plan, number, "grain_mixture", ".json")
            sources = sources_of(plan, weights)
            text = to_json({source.name: {"path": source.path, "weight": source.weight} for source in sources})
            files += [ExportedFile(name, text), beside(name, plan, notes)]
        return Export(tuple(files), notes)


def _passes_needed(plan: Plan) -> tuple[str, ...]:
    known = [epochs for epochs in plan.epochs().values() if epochs is not None]
    if not known:
        return ()
    return (f"Set num_epoch to at least {max(1, math.ceil(max(known)))}, or the data ends before the run does.",)
