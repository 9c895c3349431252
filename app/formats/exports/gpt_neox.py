"""GPT-NeoX: ``train-data-paths`` and ``train-data-weights``, two lists of the same length.

NeoX merges several configuration files, so the lists are a file of their own beside the team's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from app.formats.exports.base import Export, ExportedFile, ExportError, ExportFormat, Option, Plan, require_paths
from app.formats.exports.header import commented, header_lines
from app.formats.exports.notes import Habits, notes_of
from app.formats.exports.option_values import stage_file
from app.formats.exports.repetition import MAX_EPOCHS, above_cap
from app.formats.exports.shares import token_shares
from app.formats.exports.sources import sources_of, split_note
from app.formats.exports.yaml_text import to_yaml

# The index of the blend is one byte: BlendableDataset asserts fewer than 255 datasets.
_MOST_DATASETS = 254

_HABITS = Habits(
    unit="each weight is the share of training samples, and so of tokens, because all samples have one length. NeoX "
    "normalises them. Do not set weight_by_num_documents: it puts other weights in their place.",
    exhaustion="NeoX builds as many passes over it as its weight and train-iters demand, without a limit or a warning. "
    "Weights do not work together with train-epochs.",
    resume="the blend is built again from the new weights and read on from the number of consumed samples, so "
    "documents that were read may come again. Change weights at the end of a stage.",
)

_OTHER_SPLITS = (
    "NeoX takes train-data-paths only together with valid-data-paths and test-data-paths, and without data-path: set "
    "those in your own configuration file. Paths are prefixes of the .bin and .idx files."
)


class GptNeoxExport(ExportFormat):
    """One configuration file a stage: NeoX has one blend a run."""

    name: ClassVar[str] = "gpt-neox"
    title: ClassVar[str] = "GPT-NeoX: train-data-paths and train-data-weights"
    trainer: ClassVar[str] = "gpt-neox"
    options: ClassVar[Mapping[str, Option]] = {"max_epochs": MAX_EPOCHS}

    def render(self, plan: Plan) -> Export:
        require_paths(plan, self.trainer)
        notes = notes_of(plan, _HABITS, _OTHER_SPLITS, *split_note(plan, _prefix), *above_cap(plan))
        header = commented(header_lines(plan, notes))
        files = []
        for number, stage in enumerate(plan.stages, start=1):
            sources = sources_of(plan, token_shares(stage), _prefix)
            if len(sources) > _MOST_DATASETS:
                raise ExportError(
                    f"GPT-NeoX blends at most {_MOST_DATASETS} datasets; stage {number} has {len(sources)}"
                )
            lists = {
                "train-data-paths": [source.path for source in sources],
                "train-data-weights": [source.weight for source in sources],
            }
            name = stage_file(plan, number, "data_weights", ".yml")
            files.append(ExportedFile(name, header + to_yaml(lists)))
        return Export(tuple(files), notes)


def _prefix(path: str) -> str:
    """The path without the ends of its two files."""
    return path.removesuffix(".bin").removesuffix(".idx")
