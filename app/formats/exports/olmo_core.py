"""OLMo-core: a ``SourceMixtureList`` in YAML, which its training scripts load with ``SourceMixtureList.from_yaml``.

``target_ratio`` is a share of the requested tokens; the ratios must sum to 1. Building the data set fails where
``tokens * max_repetition_ratio`` of a source is less than its share. A stage is a script, and so a file, of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from app.formats.exports.base import Export, ExportedFile, ExportFormat, Option, Plan, PlanStage, require_paths
from app.formats.exports.header import commented, header_lines
from app.formats.exports.notes import Habits, notes_of
from app.formats.exports.option_values import stage_file
from app.formats.exports.repetition import MAX_EPOCHS, above_cap, repetition_limits
from app.formats.exports.shares import token_shares
from app.formats.exports.yaml_text import to_yaml

HABITS = Habits(
    unit="shares of the requested tokens; they sum to 1.",
    exhaustion="the build stops above max_repetition_ratio, which is set to what the stage needs (at least 1).",
    resume="needs ignore_fingerprint_mismatch=True in the configuration of the data loader.",
)


class OlmoCoreMixture(ExportFormat):
    """``source_mixture.yaml``, one for each stage."""

    name: ClassVar[str] = "olmo-core"
    title: ClassVar[str] = "OLMo-core: SourceMixtureList YAML"
    trainer: ClassVar[str] = "olmo-core"
    options: ClassVar[Mapping[str, Option]] = {"max_epochs": MAX_EPOCHS}

    def render(self, plan: Plan) -> Export:
        require_paths(plan, self.trainer)
        tokens = ", ".join(str(stage.tokens) for stage in plan.stages)
        notes = notes_of(
            plan, HABITS, f"Tokens to request (requested_tokens), stage by stage: {tokens}.", *above_cap(plan)
        )
        header = commented(header_lines(plan, notes))
        files = [
            ExportedFile(
                stage_file(plan, number, "source_mixture", ".yaml"),
                header + to_yaml({"sources": _sources(plan, stage)}),
            )
            for number, stage in enumerate(plan.stages, start=1)
        ]
        return Export(tuple(files), notes)


def _sources(plan: Plan, stage: PlanStage) -> list[dict[str, Any]]:
    shares, limits = token_shares(stage), repetition_limits(plan, stage)
    return [
        {
            "source_name": domain.name,
            "target_ratio": min(shares[domain.name], 1.0),
            "max_repetition_ratio": limits[domain.name],
            "paths": list(domain.paths),
        }
        for domain in plan.domains
        if domain.name in shares
    ]
