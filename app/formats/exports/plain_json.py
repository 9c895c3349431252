"""Plain JSON: the file that a team checks in, with stages, weights, epochs, paths and provenance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from app.formats.exports.base import Export, ExportedFile, ExportFormat, Option, Plan
from app.formats.exports.json_text import to_json
from app.formats.exports.notes import Habits, notes_of
from app.formats.exports.repetition import MAX_EPOCHS, above_cap
from app.formats.exports.shares import token_shares

PLAIN_HABITS = Habits(
    unit="each weight is the share of the stage's tokens; weights of a stage sum to 1. They are neither epochs nor "
    "shares of documents.",
    exhaustion="this file cannot say; your trainer decides. More than 1 epoch means that a domain is read again.",
    resume="this file cannot say; your trainer decides. Check it before you change weights in the middle of a run.",
)


class PlainJsonExport(ExportFormat):
    """One file with the whole plan."""

    name: ClassVar[str] = "json"
    title: ClassVar[str] = "Plain JSON: stages, weights, epochs, provenance"
    trainer: ClassVar[str] = ""
    options: ClassVar[Mapping[str, Option]] = {"max_epochs": MAX_EPOCHS}

    def render(self, plan: Plan) -> Export:
        notes = notes_of(plan, PLAIN_HABITS, *above_cap(plan))
        epochs = plan.epochs()
        document = {
            "provenance": dict(plan.provenance),
            "total_tokens": plan.total_tokens,
            "stages": [
                {
                    "stage": number,
                    "from_token": stage.from_token,
                    "to_token": stage.to_token,
                    "weights": token_shares(stage),
                }
                for number, stage in enumerate(plan.stages, start=1)
            ],
            "domains": {
                domain.name: {
                    "available_tokens": domain.available_tokens,
                    "epochs": epochs[domain.name],
                    "mean_document_tokens": domain.mean_document_tokens,
                    "paths": list(domain.paths),
                }
                for domain in plan.domains
            },
            "dropped": list(plan.dropped),
            "notes": list(notes),
        }
        return Export((ExportedFile("mixture.json", to_json(document)),), notes)
