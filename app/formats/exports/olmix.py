"""olmix: the ``mix`` of a launch file.

Domains named ``source:topic:quality`` nest. A weight is relative to its parent, so that a leaf's share is the product
of the weights from the root; ``repetition_factor`` says how often the leaf may be repeated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from app.formats.exports.base import Export, ExportedFile, ExportError, ExportFormat, Option, Plan, PlanStage
from app.formats.exports.header import commented, header_lines, quoted
from app.formats.exports.notes import Habits, notes_of
from app.formats.exports.option_values import stage_file
from app.formats.exports.repetition import MAX_EPOCHS, above_cap, repetition_limits
from app.formats.exports.shares import token_shares
from app.formats.exports.yaml_text import to_yaml

SEPARATOR = ":"
PROPERTIES = frozenset({"weight", "repetition_factor"})

HABITS = Habits(
    unit="shares of tokens relative to the parent; a leaf's share of all is the product of the weights above it.",
    exhaustion="the build stops above repetition_factor, which is set to what the stage needs (at least 1).",
    resume="a launch trains one mixture from its start; each stage is a launch of its own.",
)
FLAT = "The mix is flat, because a domain has the name of another one's parent."


class OlmixMix(ExportFormat):
    """``mix.yaml``, one for each stage; the paths stand in the ``data`` section of the launch file."""

    name: ClassVar[str] = "olmix"
    title: ClassVar[str] = "olmix: nested mix of a launch YAML"
    trainer: ClassVar[str] = ""
    options: ClassVar[Mapping[str, Option]] = {"max_epochs": MAX_EPOCHS}

    def render(self, plan: Plan) -> Export:
        nests = not _has_leaf_with_children([domain.name for domain in plan.domains])
        notes = notes_of(plan, HABITS, *(() if nests else (FLAT,)), *above_cap(plan))
        header = commented(header_lines(plan, notes))
        arrange = _nested if nests else _flat
        files = [
            ExportedFile(stage_file(plan, number, "mix", ".yaml"), header + to_yaml({"mix": arrange(plan, stage)}))
            for number, stage in enumerate(plan.stages, start=1)
        ]
        return Export(tuple(files), notes)


def _has_leaf_with_children(names: list[str]) -> bool:
    return not {branch for name in names for branch in _branches(name)[:-1]}.isdisjoint(names)


def _flat(plan: Plan, stage: PlanStage) -> dict[str, Any]:
    limits = repetition_limits(plan, stage)
    return {name: {"weight": p, "repetition_factor": limits[name]} for name, p in _ordered(plan, stage).items()}


def _nested(plan: Plan, stage: PlanStage) -> dict[str, Any]:
    shares, limits = _ordered(plan, stage), repetition_limits(plan, stage)
    totals: dict[str, float] = {}
    for name, share in shares.items():
        for branch in _branches(name):
            totals[branch] = totals.get(branch, 0.0) + share
    mix: dict[str, Any] = {}
    for name in shares:
        level, parent = mix, 1.0
        for branch, key in zip(_branches(name), _keys(name), strict=True):
            level = level.setdefault(key, {"weight": totals[branch] / parent})
            parent = totals[branch]
        level["repetition_factor"] = limits[name]
    return mix


def _ordered(plan: Plan, stage: PlanStage) -> dict[str, float]:
    shares = token_shares(stage)
    return {domain.name: shares[domain.name] for domain in plan.domains if domain.name in shares}


def _keys(name: str) -> list[str]:
    """``a:b:c`` -> ``a``, ``b``, ``c``.

    Raises:
        ExportError: a part that olmix takes for a property of its parent, or an empty one.
    """
    keys = name.split(SEPARATOR)
    wrong = [key for key in keys[1:] if key in PROPERTIES] + [key for key in keys if not key]
    if wrong:
        raise ExportError(
            f"domain {quoted(name)} has a part {quoted(wrong[0])}; olmix nests by '{SEPARATOR}', and a part may be "
            f"neither empty nor one of {', '.join(sorted(PROPERTIES))}: rename the domain"
        )
    return keys


def _branches(name: str) -> list[str]:
    """``a:b:c`` -> ``a``, ``a:b``, ``a:b:c``."""
    parts = name.split(SEPARATOR)
    return [SEPARATOR.join(parts[:count]) for count in range(1, len(parts) + 1)]
