"""Megatron Energon: a ``MetadatasetV2`` whose train split is a ``blend`` of datasets with weights.

Energon draws samples as they lie in the dataset, before any packing. Where these are documents, weights are document
shares; where they are sequences of one length, token shares.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from app.formats.exports.base import Export, ExportedFile, ExportFormat, Option, Plan, require_paths
from app.formats.exports.header import commented, header_lines
from app.formats.exports.notes import Habits, notes_of
from app.formats.exports.option_values import one_of, stage_file
from app.formats.exports.repetition import MAX_EPOCHS, above_cap
from app.formats.exports.shares import DocumentShares, document_shares, token_shares
from app.formats.exports.sources import sources_of, split_note
from app.formats.exports.yaml_text import to_yaml

_HABITS = Habits(
    unit="each weight is the share of samples, as they lie in the dataset, before packing. Energon normalises weights.",
    exhaustion="the loader of a training split repeats each dataset without end and without a warning. For whole "
    "numbers of passes instead of shares, Energon has blend_epochized with repetitions.",
    resume="the state of the loader belongs to the blend that it was saved with: start a stage with other weights from "
    "the model's checkpoint and a new loader.",
)


class EnergonExport(ExportFormat):
    """One metadataset file a stage."""

    name: ClassVar[str] = "energon"
    title: ClassVar[str] = "Megatron Energon: MetadatasetV2 with a blend"
    trainer: ClassVar[str] = "energon"
    options: ClassVar[Mapping[str, Option]] = {
        "max_epochs": MAX_EPOCHS,
        "samples": Option("documents", "what one sample of the datasets is: 'documents', or 'sequences' of one length"),
    }

    def render(self, plan: Plan) -> Export:
        require_paths(plan, self.trainer)
        shares = self._shares(plan)
        notes = notes_of(plan, _HABITS, shares.note, *split_note(plan), *above_cap(plan))
        header = commented(header_lines(plan, notes))
        files = []
        for number, probabilities in enumerate(shares.by_stage, start=1):
            blend = [{"weight": source.weight, "path": source.path} for source in sources_of(plan, probabilities)]
            document = {
                "__module__": "megatron.energon",
                "__class__": "MetadatasetV2",
                "splits": {"train": {"blend": blend}},
            }
            name = stage_file(plan, number, "metadataset", ".yaml")
            files.append(ExportedFile(name, header + to_yaml(document)))
        return Export(tuple(files), notes)

    def _shares(self, plan: Plan) -> DocumentShares:
        if one_of(plan, self.options, "samples", ("documents", "sequences")) == "documents":
            return document_shares(plan)
        return DocumentShares(
            tuple(token_shares(stage) for stage in plan.stages),
            "Samples are taken to be sequences of one length: their shares are token shares.",
        )
