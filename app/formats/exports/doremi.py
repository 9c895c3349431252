"""DoReMi: a JSON file with ``train_domain_weights`` and ``eval_domain_weights``.

DoReMi reads these two keys and no others, so the provenance stands beside them, under a key of ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from app.formats.exports.base import Export, ExportedFile, ExportFormat, Option, Plan
from app.formats.exports.json_text import SIBLING_KEY, described, to_json
from app.formats.exports.notes import Habits, notes_of
from app.formats.exports.option_values import stage_file
from app.formats.exports.repetition import MAX_EPOCHS, above_cap
from app.formats.exports.shares import token_shares

_HABITS = Habits(
    unit="each weight is the share of examples of the preprocessed data. These are token shares where preprocessing "
    "packed the text into examples of one length; without packing they are document shares. DoReMi normalises them.",
    exhaustion="its shards are read again from the first one on, without a limit or a warning.",
    resume="a resumed run reads this file again and finds its place by drawing as many examples as were trained, with "
    "the new weights: the place is another one. Start a stage with other weights from the model's checkpoint.",
)

_NAMES = "Domains are named as the folders of the preprocessed data must be. Evaluation uses the same weights."


class DoremiExport(ExportFormat):
    """One domain configuration a stage; domains are folders of the preprocessed data, so it needs no paths."""

    name: ClassVar[str] = "doremi"
    title: ClassVar[str] = "DoReMi: domain configuration (JSON)"
    trainer: ClassVar[str] = ""
    options: ClassVar[Mapping[str, Option]] = {"max_epochs": MAX_EPOCHS}

    def render(self, plan: Plan) -> Export:
        notes = notes_of(plan, _HABITS, _NAMES, *above_cap(plan))
        files = []
        for number, stage in enumerate(plan.stages, start=1):
            weights = token_shares(stage)
            about = {"from_token": stage.from_token, "to_token": stage.to_token, **described(plan, notes)}
            document = {"train_domain_weights": weights, "eval_domain_weights": weights, SIBLING_KEY: about}
            name = stage_file(plan, number, "domain_weights", ".json")
            files.append(ExportedFile(name, to_json(document)))
        return Export(tuple(files), notes)
