"""How often domains are repeated: a remark above a cap, and limits for trainers that refuse to repeat unasked."""

from __future__ import annotations

import math

from app.formats.exports.base import ExportError, Option, Plan, PlanStage
from app.formats.exports.header import quoted

MAX_EPOCHS = Option(4.0, "domains that the whole plan passes over more often than this are named in the notes")

# Trainers count the tokens of the files themselves, and round a stage up to whole batches: an exact limit would be
# refused for a thousandth that is missing.
SLACK = 1.01


def above_cap(plan: Plan) -> tuple[str, ...]:
    """A note that names the domains above option ``max_epochs``.

    Raises:
        ExportError: the option is not a number above 0.
    """
    cap = plan.options.get("max_epochs", MAX_EPOCHS.default)
    if isinstance(cap, bool) or not isinstance(cap, int | float) or not cap > 0:
        raise ExportError(f"option 'max_epochs' is {cap!r}; it must be a number above 0")
    above = [
        f"{quoted(name)} {epochs:.4g}" for name, epochs in plan.epochs().items() if epochs is not None and epochs > cap
    ]
    return (f"Repeated more than {cap:g} times (epochs): {', '.join(above)}.",) if above else ()


def repetition_limits(plan: Plan, stage: PlanStage) -> dict[str, float]:
    """The least limit (at least 1, in hundredths) that lets the stage through; 1 where the epochs are unknown."""
    return {
        name: 1.0 if epochs is None or epochs <= 1 / SLACK else math.ceil(epochs * SLACK * 100) / 100
        for name, epochs in plan.stage_epochs(stage).items()
    }
