"""nanotron: ``data_stages`` with ``dataset_folder`` and ``dataset_weights`` as lists.

Its documentation shows a mapping of folders to weights; the code takes lists alone. Stages start at a training step,
the first of them at 1: the stage from token ``a`` on starts with step ``a / tokens_per_step + 1``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from app.formats.exports.base import Export, ExportedFile, ExportError, ExportFormat, Option, Plan, require_paths
from app.formats.exports.header import commented, header_lines
from app.formats.exports.notes import Habits, notes_of
from app.formats.exports.option_values import whole_number
from app.formats.exports.repetition import MAX_EPOCHS, above_cap
from app.formats.exports.shares import token_shares
from app.formats.exports.sources import sources_of, split_note
from app.formats.exports.steps import step_boundaries
from app.formats.exports.yaml_text import to_yaml

_HABITS = Habits(
    unit="each weight is the share of training sequences, and so of tokens, because all sequences have one length. "
    "nanotron normalises them.",
    exhaustion="its samples are read again from the first one on, without a limit or a warning.",
    resume="nanotron reads this list again and keeps, for each stage, how much of it was consumed. Change stages that "
    "have not begun; the weights of a stage that is under way decide which samples its counter stands for.",
)


class NanotronExport(ExportFormat):
    """A ``data_stages`` section for the configuration of a run."""

    name: ClassVar[str] = "nanotron"
    title: ClassVar[str] = "nanotron: data_stages with Nanoset folders and weights"
    trainer: ClassVar[str] = "nanotron"
    options: ClassVar[Mapping[str, Option]] = {
        "max_epochs": MAX_EPOCHS,
        "tokens_per_step": Option(0, "tokens of one training step over all replicas; needed for several stages"),
        "seed": Option(42, "seed of each stage's data"),
    }

    def render(self, plan: Plan) -> Export:
        require_paths(plan, self.trainer)
        seed = whole_number(plan, self.options, "seed")
        starts, moved = self._starts(plan)
        stages = []
        for number, (start, stage) in enumerate(zip(starts, plan.stages, strict=True), start=1):
            sources = sources_of(plan, token_shares(stage))
            folders = {
                "dataset_folder": [source.path for source in sources],
                "dataset_weights": [source.weight for source in sources],
            }
            data = {"seed": seed, "num_loading_workers": 1, "dataset": folders}
            stages.append({"name": f"stage {number}", "start_training_step": start, "data": data})
        notes = notes_of(plan, _HABITS, *moved, *split_note(plan), *above_cap(plan))
        text = commented(header_lines(plan, notes)) + to_yaml({"data_stages": stages})
        return Export((ExportedFile("data_stages.yaml", text),), notes)

    def _starts(self, plan: Plan) -> tuple[list[int], tuple[str, ...]]:
        """The first step of each stage, and which boundaries had to move to a whole step."""
        if len(plan.stages) == 1:
            return [1], ()
        tokens_per_step = whole_number(plan, self.options, "tokens_per_step")
        if tokens_per_step == 0:
            raise ExportError(
                f"the plan has {len(plan.stages)} stages and nanotron starts them at training steps; set option "
                "'tokens_per_step': sequence length * micro batch * accumulation * data-parallel replicas"
            )
        boundaries = step_boundaries(plan, batch_size=1, sequence_length=tokens_per_step)
        return [1, *(end + 1 for end in boundaries.ends[:-1])], boundaries.notes
