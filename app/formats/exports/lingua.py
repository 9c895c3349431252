"""lingua: ``data.root_dir`` and ``data.sources``, a mapping of folders to weights.

lingua chooses a source for each line of its files, before it cuts tokens into sequences: weights are document shares.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from app.formats.exports.base import (
    Export,
    ExportedFile,
    ExportError,
    ExportFormat,
    Option,
    Plan,
    require_paths,
)
from app.formats.exports.header import commented, header_lines
from app.formats.exports.notes import Habits, notes_of
from app.formats.exports.option_values import stage_file, text
from app.formats.exports.repetition import MAX_EPOCHS, above_cap
from app.formats.exports.shares import document_shares
from app.formats.exports.sources import sources_of, split_note
from app.formats.exports.yaml_text import to_yaml

_HABITS = Habits(
    unit="each weight is the probability that the next document comes from that source; tokens follow by the length of "
    "the documents. lingua normalises weights.",
    exhaustion="each file of it is read again from its beginning, without a limit or a warning.",
    resume="the checkpoint of the data loader holds the old sources and weights, and a resumed run follows those, "
    "whatever this file says. To change weights, start from the model's checkpoint (checkpoint.init_ckpt_path).",
)


class LinguaExport(ExportFormat):
    """One file a stage, to be merged into the configuration of a run."""

    name: ClassVar[str] = "lingua"
    title: ClassVar[str] = "lingua: data.sources"
    trainer: ClassVar[str] = "lingua"
    options: ClassVar[Mapping[str, Option]] = {
        "max_epochs": MAX_EPOCHS,
        "root_dir": Option("", "folder that the paths start from; none needed for absolute paths"),
    }

    def render(self, plan: Plan) -> Export:
        require_paths(plan, self.trainer)
        root_dir = text(plan, self.options, "root_dir")
        shares = document_shares(plan)
        notes = notes_of(plan, _HABITS, shares.note, *split_note(plan), *above_cap(plan))
        header = commented(header_lines(plan, notes))
        files = []
        for number, probabilities in enumerate(shares.by_stage, start=1):
            document = to_yaml({"data": {"root_dir": root_dir, "sources": _sources(plan, probabilities)}})
            name = stage_file(plan, number, "lingua_data", ".yaml")
            files.append(ExportedFile(name, header + document))
        return Export(tuple(files), notes)


def _sources(plan: Plan, probabilities: dict[str, float]) -> dict[str, float]:
    """Folder -> weight. A mapping has a folder once: a second weight for it would replace the first without a word."""
    weights: dict[str, float] = {}
    for source in sources_of(plan, probabilities):
        if source.path in weights:
            raise ExportError(
                f"{source.name!r} shares the folder {source.path!r} with another domain; lingua needs two"
            )
        weights[source.path] = source.weight
    return weights
